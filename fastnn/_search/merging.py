"""What searches in several parts have found, as one search would have given it."""

import numpy as np


def merge_found(distances, indices, k):
    """Return the first k by (distance, index) of what several searches found, each in that order.

    Parameters
    ----------
    distances, indices : sequence of ndarray of shape (n_queries, k_i)
    k : int

    Returns
    -------
    distances, indices : ndarray of shape (n_queries, k)
        Or fewer columns, if all have fewer together.
    """
    both = distances[0], indices[0]
    for others in zip(distances[1:], indices[1:], strict=True):
        both = _merge_two(both, others, k)
    return both[0][:, :k], both[1][:, :k]


def _merge_two(found, others, k):
    if found[0].shape[1] < k:
        both = (np.concatenate(pair, axis=1) for pair in zip(found, others, strict=True))
        return nearest_of(*both, k)
    found = found[0][:, :k], found[1][:, :k]
    # Where all of the others are further away, which is quickly said, nothing changes.
    changed = np.flatnonzero(~(others[0][:, 0] > found[0][:, -1]))
    if not changed.size:
        return found
    pairs = zip(found, others, strict=True)
    merged = nearest_of(*(np.concatenate([a[changed], b[changed]], axis=1) for a, b in pairs), k)
    found = found[0].copy(), found[1].copy()
    for array, values in zip(found, merged, strict=True):
        array[changed] = values
    return found


def nearest_of(distances, indices, k):
    """Return the first k of each row by (distance, index)."""
    first = first_of(distances, indices, k)
    return np.take_along_axis(distances, first, 1), np.take_along_axis(indices, first, 1)


def first_of(distances, indices, k):
    """Return where the first k by (distance, index) are in each row, (n_queries, k)."""
    return np.lexsort((indices, distances), axis=1)[:, :k]
