"""The naive NumPy truth of every kernel: float64 (or longdouble), difference form, no tricks."""

import numpy as np


def distances(X, Y, metric, dtype=np.float64):
    """All distances between rows, each a plain sum over the difference of two rows."""
    X, Y = X.astype(dtype), Y.astype(dtype)
    result = np.empty((len(X), len(Y)), dtype)
    with np.errstate(over="ignore", under="ignore"):
        for i, x in enumerate(X):
            difference = x - Y
            if metric == "chebyshev":
                result[i] = np.abs(difference).max(axis=1)
                continue
            terms = np.abs(difference) if metric == "l1" else difference * difference
            result[i] = terms.sum(axis=1)
    return np.sqrt(result) if metric == "l2" else result


def kneighbors(X, Y, k, metric):
    """The k first rows of Y by (distance, index) for each row of X."""
    all_distances = distances(X, Y, metric)
    order = np.argsort(all_distances, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(all_distances, order, axis=1), order


def kneighbors_of_itself(X, k, metric):
    """The k first other rows; where k + 1 duplicates displace a row, the first of them is left."""
    distances, indices = kneighbors(X, X, k + 1, metric)
    kept = indices != np.arange(len(X))[:, None]
    kept[kept.all(axis=1), 0] = False
    return distances[kept].reshape(-1, k), indices[kept].reshape(-1, k)


def radius_neighbors(X, Y, radius, metric, exclude_self=False):
    """For each row of X the (distances, indices) of the rows of Y within the radius, in order."""
    found = []
    for i, row in enumerate(distances(X, Y, metric)):
        order = np.argsort(row, kind="stable")
        order = order[row[order] <= radius]
        order = order[order != i] if exclude_self else order
        found.append((row[order], order))
    return found


def votes(neighbors, labels, n_classes, weights=None):
    """Sums of weights per class, neighbor by neighbor."""
    sums = np.zeros((len(neighbors), n_classes))
    for i, row in enumerate(neighbors):
        for j, neighbor in enumerate(row):
            sums[i, labels[neighbor]] += 1.0 if weights is None else weights[i, j]
    return sums
