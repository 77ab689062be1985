"""
Four ways to minimize a loss
============================

The softmax loss of a classifier with two weights, which separates handwritten threes from eights
by two features, and the path that each method of :mod:`fastnn.optimize` takes, from the square to
the star. Random search tries points anywhere and keeps the best; random local search keeps the
small steps that help; gradient descent follows the slope; mini-batch SGD follows the slope of 16
images at a time, with momentum, and is there after three passes over the images.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

from fastnn.losses import linear_loss
from fastnn.optimize import gradient_descent, random_local_search, random_search, sgd

X, y = load_digits(return_X_y=True)
X, y = X[(y == 3) | (y == 8)], (y[(y == 3) | (y == 8)] == 8).astype(int)
X = PCA(2, whiten=True, random_state=0).fit_transform(X)


def loss(w, rows=slice(None)):
    value, gradient = linear_loss(np.stack([-w, w]) / 2, X[rows], y[rows], l2=0.05)
    return value, (gradient[1] - gradient[0]) / 2


def best_points(search, **options):
    points = [start]
    search(
        lambda w: loss(w)[0],
        start,
        callback=lambda intermediate_result: points.append(intermediate_result.x.copy()),
        **options,
    )
    return np.array(points)


def steps(descend, *arguments, **options):
    points = []

    def noted_loss(w, *rows):
        points.append(w.copy())
        return loss(w, *rows)

    result = descend(noted_loss, start, *arguments, **options)
    return np.array([*points, result.x])


start = np.array([2.5, 2.2])
paths = {
    "random search": best_points(random_search, step_size=2.0, n_trials=60, random_state=2),
    "random local search": best_points(
        random_local_search, step_size=0.3, n_trials=60, random_state=1
    ),
    "gradient descent": steps(gradient_descent, step_size=1.0, max_iter=60),
    "mini-batch SGD": steps(
        sgd, len(X), step_size=0.3, batch_size=16, max_iter=3, momentum=0.5, random_state=0
    ),
}

figure, axes = plt.subplots(2, 2, figsize=(9, 8), layout="constrained", sharex=True, sharey=True)
grid = np.linspace(-5, 3.5, 80)
heights = [[loss(np.array([a, b]))[0] for a in grid] for b in grid]
for (name, points), ax in zip(paths.items(), axes.flat, strict=True):
    ax.contourf(grid, grid, heights, levels=20, cmap="viridis")
    ax.plot(*points.T, "o-", color="white", markersize=3.5, linewidth=1)
    ax.plot(*points[0], "s", color="orange", markersize=8)
    ax.plot(*points[-1], "*", color="red", markersize=11)
    ax.set(title=f"{name}: loss {loss(points[-1])[0]:.3f}", aspect="equal")
figure.supxlabel("first weight")
figure.supylabel("second weight")
plt.show()
