"""Neighbors among samples that are in parts: in other processes, on other machines, or on disk."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .. import _validation
from .._core._threads import effective_n_threads
from .._search.merging import merge_found, nearest_of
from .._search.metric_spaces import check_space, metric_parameters
from .._search.searcher import ALGORITHMS, Searcher


def merge_neighbors(
    distances: Sequence[ArrayLike], indices: Sequence[ArrayLike], n_neighbors: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the nearest of the neighbors that searches in several parts have found.

    Each part gives its own n_neighbors nearest samples (all of them, if it has fewer), with indices
    that tell the samples of all parts apart. Then the result is that of one search in all of them:
    the first n_neighbors in the order of (distance, index). The order of the parts does not matter,
    and parts of parts may be merged first.

    Parameters
    ----------
    distances : sequence of array-likes of shape (n_queries, k_i)
        One for each part.
    indices : sequence of array-likes of shape (n_queries, k_i), of integers
    n_neighbors : int
        At most the sum of all k_i.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_neighbors), float64
        Ascending.
    indices : ndarray of shape (n_queries, n_neighbors), int64

    Raises
    ------
    TypeError
        If indices are not integers.
    ValueError
        For no parts at all, shapes that do not fit, NaN among the distances, or n_neighbors out of
        range.

    Examples
    --------
    >>> from fastnn.neighbors import merge_neighbors
    >>> merge_neighbors([[[0.5, 2.0]], [[0.1, 0.5]]], [[[3, 1]], [[7, 9]]], n_neighbors=3)
    (array([[0.1, 0.5, 0.5]]), array([[7, 3, 9]]))
    """
    distances, indices = list(distances), list(indices)
    if not distances or len(distances) != len(indices):
        raise ValueError(
            "distances and indices must have one array for each part, and at least one, got "
            f"{len(distances)} and {len(indices)}"
        )
    for i, pair in enumerate(zip(distances, indices, strict=True)):
        distances[i], indices[i] = _check_part(*pair, i, len(distances[0]))
    n_found = sum(found.shape[1] for found in distances)
    k = _validation.check_integer(n_neighbors, "n_neighbors", 1)
    if k > n_found:
        raise ValueError(f"n_neighbors must be at most {n_found}, what all parts have, got {k}")
    return nearest_of(np.concatenate(distances, axis=1), np.concatenate(indices, axis=1), k)


def _check_part(distances, indices, part, n_queries):
    """Return what a part has found as float64 and int64."""
    distances, indices = np.asarray(distances), np.asarray(indices)
    if distances.ndim != 2 or distances.shape != indices.shape or len(distances) != n_queries:
        raise ValueError(
            f"distances[{part}] and indices[{part}] must have one shape, (n_queries, k) with the "
            f"n_queries of all parts ({n_queries}), got {distances.shape} and {indices.shape}"
        )
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices[{part}] must hold integers, got dtype {indices.dtype}")
    distances = _validation.check_floats(distances, f"distances[{part}]").astype(np.float64)
    if indices.dtype.kind == "u" and (indices > np.iinfo(np.int64).max).any():
        raise ValueError(f"indices[{part}] must be below 2**63, got {indices.max()}")
    if np.isnan(distances).any():
        raise ValueError(f"distances[{part}] must not contain NaN")
    return distances, indices.astype(np.int64)


def kneighbors_of_blocks(
    X: ArrayLike,
    blocks: Iterable[ArrayLike],
    n_neighbors: int = 5,
    metric: str = "minkowski",
    *,
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    algorithm: Literal["auto", "brute", "bounded", "kd_tree", "ivf"] = "auto",
    recall: float = 1.0,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Find the nearest samples for each row of X, where the samples come block by block.

    For samples that memory does not hold: parts of a memory-mapped file, of HDF5 or Zarr arrays, or
    batches of a Parquet file. Each block is taken from the iterator once, searched for all queries,
    then released. The result is that of `fastnn.kneighbors` on all blocks in one array, bit for
    bit.

    Parameters
    ----------
    X : array-like of shape (n_queries, n_features)
    blocks : iterable of array-likes of shape (n_i, n_features)
        Samples are numbered through all blocks. A block may be empty. Blocks of some fifty thousand
        rows or more are searched about as quickly as one array.
    n_neighbors, metric, p, metric_params, algorithm, recall, n_jobs
        As for `fastnn.kneighbors`. With a recall below 1 each block keeps it.
    verbose : int, default=0
        A positive number shows a progress bar, which counts samples.

    Returns
    -------
    distances : ndarray of shape (n_queries, n_neighbors), float64
        Ascending. Squared only for "sqeuclidean".
    indices : ndarray of shape (n_queries, n_neighbors), int64

    Raises
    ------
    TypeError
        As `fastnn.kneighbors`, and for blocks that are not iterable.
    ValueError
        As `fastnn.kneighbors`; the message names the block and the row among all samples.

    See Also
    --------
    merge_neighbors : For blocks that are searched in other processes.
    fastnn.dask : The same on Dask.

    Notes
    -----
    Beside the results the search holds one block, copied if it is not C-contiguous, and what
    `fastnn.kneighbors` holds for it. Ctrl-C stops it within half a second, not counting time spent
    in the iterator.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.neighbors import kneighbors_of_blocks
    >>> samples = np.arange(100.0).reshape(50, 2)
    >>> blocks = (samples[start : start + 20] for start in range(0, 50, 20))
    >>> kneighbors_of_blocks([[60.0, 62.0]], blocks, n_neighbors=2)[1]
    array([[30, 31]])
    """
    X = _validation.check_rows(X, "X")
    space = check_space(metric, **metric_parameters(metric, p, metric_params))
    space.require_fit(X.shape[1])
    _validation.check_name(algorithm, ("auto", *ALGORITHMS), "algorithm")
    recall, n_threads = _validation.check_recall(recall), effective_n_threads(n_jobs)
    k = _validation.check_integer(n_neighbors, "n_neighbors")
    _validation.check_n_neighbors(k, max(k, 1))
    space.require_valid(X, "X")
    from tqdm.auto import tqdm

    found, n, i = [], 0, -1  # enumerate() would hold a block until it has the next one
    with tqdm(desc="kneighbors", unit=" samples", unit_scale=True, disable=not verbose) as bar:
        for block in _iterate(blocks):
            i += 1
            rows = _check_block(block, i, X.shape[1])
            if rows is None:
                continue
            searcher = Searcher(rows, space, algorithm, "none", recall)
            found.append(search_block(searcher, X, k, n_threads, n, f"blocks[{i}]"))
            found = [merge_found(*zip(*found, strict=True), k)]
            n += len(rows)
            bar.update(len(rows))
            del block, rows, searcher
    _validation.check_n_neighbors(k, n)
    distances, indices = found[0]
    return (0.0 - distances if space.largest_first else distances), indices


def search_block(searcher, X, k, n_threads, first, name):
    """Return (distances, indices) of the up to k nearest in a block whose rows start at `first`.

    What is larger for what is nearer comes with the other sign, so that results can be merged.

    Raises
    ------
    ValueError
        For NaN and infinity in the block, named by the number of its row.
    """
    try:
        found = searcher.kneighbors(X, min(k, len(searcher.Y)), n_threads)
    except ValueError:
        searcher.space.require_valid(searcher.Y, name, first)
        raise
    sign = -1.0 if searcher.space.largest_first else 1.0
    return sign * found.distances, found.indices + first


def _iterate(blocks):
    if getattr(blocks, "ndim", None) == 2:
        raise TypeError(
            f"blocks must be an iterable of arrays, got one {type(blocks).__name__} of shape "
            f"{blocks.shape}; pass parts of it, or a list of it"
        )
    try:
        return iter(blocks)
    except TypeError:
        raise TypeError(
            f"blocks must be an iterable of arrays, got {type(blocks).__name__}"
        ) from None


def _check_block(block, i, n_features):
    """Return a block's rows, or None if it has none."""
    name = f"blocks[{i}]"
    shape = getattr(block, "shape", None) or np.shape(block)
    if (len(shape) == 2 and shape[0] == 0) or shape == (0,):
        return None
    rows = _validation.check_rows(block, name)
    if rows.shape[1] != n_features:
        raise ValueError(
            f"{name} must have the features of X, {n_features}, got shape {rows.shape}"
        )
    return rows
