"""
How few pairs survive the bounds
================================

A search by bounds compares a few numbers of each pair, and evaluates the exact distances of the
pairs that survive: see :doc:`/explanation/exact_search`. Here the rows are patches of two
photographs, 16 x 16 pixels in color. The more directions a row is projected on, or the more groups
its features are added up in, the fewer pairs survive; the neighbors themselves always do.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.feature_extraction.image import extract_patches_2d

import fastnn
from fastnn._search.bounded import group_features, leading_directions

patches = [
    extract_patches_2d(image, (16, 16), max_patches=3000, random_state=0)
    for image in load_sample_images().images
]
X = np.concatenate(patches).reshape(6000, -1).astype(np.float64)
queries = X[::30]
center = X.mean(axis=0)


def pairs_left(bounds, metric):
    """The share of pairs whose bound is within the distance of the query's tenth neighbor."""
    limits = fastnn.kneighbors(queries, X, 10, metric)[0][:, -1:]
    return (bounds <= limits).mean()


def projection_bounds(n_directions):
    directions = leading_directions(X[::6] - center, n_directions)
    rows = []
    for Z in (queries - center, X - center):
        projected = Z @ directions.T
        rest = np.square(Z).sum(axis=1) - np.square(projected).sum(axis=1)
        rows.append(np.column_stack([projected, np.sqrt(np.maximum(rest, 0))]))
    return fastnn.pairwise_distances(*rows, "l2")


def group_bounds(order, starts):
    sums = [np.add.reduceat(Z[:, order], starts[:-1], axis=1) for Z in (queries, X)]
    return fastnn.pairwise_distances(*sums, "l1")


numbers = [1, 2, 4, 8, 16, 32, 64, 128]
projections = [pairs_left(projection_bounds(n), "l2") for n in numbers]

# Groups of 6 features are halves of groups of 12, and so on.
directions = leading_directions(X[::6] - center, 16)
places = directions.T * np.linalg.norm((X - center) @ directions.T, axis=0)
order, levels = group_features(places, [768 // n for n in numbers])
sums = [pairs_left(group_bounds(order, starts), "l1") for starts in levels]

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.loglog(numbers, projections, "o-", label="L2: projections, and the norm of the rest")
ax.loglog(numbers, sums, "s-", label="L1: sums of groups of features")
ax.axhline(10 / len(X), color="gray", linestyle=":", label="the ten neighbors themselves")
ax.set(xlabel="Numbers kept of 768", ylabel="Share of surviving pairs")
ax.legend()
