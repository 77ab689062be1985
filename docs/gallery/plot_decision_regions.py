"""
One neighbor or fifteen
=======================

The regions of a classifier that follows every single sample, and of one that lets fifteen neighbors
vote: smoother, and better on samples that it has not seen. The picture is scikit-learn's
DecisionBoundaryDisplay, which takes these estimators as they are.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import make_moons
from sklearn.inspection import DecisionBoundaryDisplay

from fastnn.neighbors import KNeighborsClassifier

X, y = make_moons(300, noise=0.35, random_state=0)
X_new, y_new = make_moons(2000, noise=0.35, random_state=1)

figure, axes = plt.subplots(1, 2, figsize=(9, 4), layout="constrained", sharey=True)
for k, ax in zip((1, 15), axes, strict=True):
    model = KNeighborsClassifier(k).fit(X, y)
    DecisionBoundaryDisplay.from_estimator(
        model,
        X,
        response_method="predict",
        grid_resolution=300,
        eps=0.2,
        alpha=0.4,
        cmap="coolwarm",
        ax=ax,
    )
    ax.scatter(*X.T, c=y, cmap="coolwarm", s=5)
    ax.set_title(f"k = {k}: {model.score(X_new, y_new):.1%} of new samples are right")
