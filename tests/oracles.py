"""The naive NumPy truth of every kernel: float64 (or longdouble), difference form, no tricks."""

import numpy as np


def distances(X, Y, metric, dtype=np.float64):
    """All distances between rows, each a plain sum over the difference of two rows."""
    X, Y = X.astype(dtype), Y.astype(dtype)
    result = np.empty((len(X), len(Y)), dtype)
    with np.errstate(over="ignore", under="ignore"):
        for i, x in enumerate(X):
            difference = x - Y
            terms = np.abs(difference) if metric == "l1" else difference * difference
            result[i] = terms.sum(axis=1)
    return np.sqrt(result) if metric == "l2" else result


def kneighbors(X, Y, k, metric):
    """The k first rows of Y by (distance, index) for each row of X."""
    all_distances = distances(X, Y, metric)
    order = np.argsort(all_distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(all_distances, order, axis=1), order


def votes(neighbors, labels, n_classes, weights=None):
    """Sums of weights per class, neighbor by neighbor."""
    sums = np.zeros((len(neighbors), n_classes))
    for i, row in enumerate(neighbors):
        for j, neighbor in enumerate(row):
            sums[i, labels[neighbor]] += 1.0 if weights is None else weights[i, j]
    return sums
