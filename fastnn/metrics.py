"""Distances between all pairs of rows."""

import numpy as np

from . import _validation
from ._core._pairwise import fill_distances, float32_tiles_serve
from ._core._threads import effective_n_threads
from ._core._tiles import packing_frame

__all__ = ["pairwise_distances"]

# Below this many multiply-adds float64 tiles cost no noticeable time.
MIN_FLOAT32_WORK = 1 << 22


def pairwise_distances(X, Y=None, metric="l2", *, out=None, n_jobs=None):
    """Distances between each row of X and each row of Y.

    ``"l1"``: sum of \\|x - y\\|; ``"sqeuclidean"``: sum of (x - y)²; ``"l2"``: its square root.

    Parameters
    ----------
    X : array-like of shape (n_x, n_features)
        float32, float64 and uint8 are taken as they are, other real dtypes widened exactly.
    Y : array-like of shape (n_y, n_features), optional
        None stands for X: half of the work, an exactly symmetric result, an exactly zero diagonal.
    metric : str, default="l2"
        "l1" ("manhattan", "cityblock"), "l2" ("euclidean") or "sqeuclidean".
    out : ndarray of shape (n_x, n_y), optional
        Where to write the result: C-contiguous and of the result's dtype.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.

    Returns
    -------
    ndarray of shape (n_x, n_y)
        float32 if both inputs are (or are narrower than) float32, else float64. Entries are
        within a relative 1e-6 (float32) or 1e-13 (float64) of the exact distance; those of uint8
        input are exact but for the square root. Bit-identical rows are at distance 0.

    Raises
    ------
    TypeError
        For dtypes that hold no real numbers, sparse input, and arguments of the wrong type.
    ValueError
        For NaN or infinity, empty input, shapes that do not fit, an unknown metric, n_jobs=0.

    Examples
    --------
    >>> import fastnn
    >>> fastnn.pairwise_distances([[0.0, 0.0], [3.0, 4.0]], metric="l2")
    array([[0., 5.],
           [5., 0.]])
    """
    metric = _validation.check_metric(metric)
    symmetric = Y is None
    X, Y = _validation.check_pair(X, X if symmetric else Y)
    _validation.require_finite(X, "X")
    if not symmetric:
        _validation.require_finite(Y, "Y")
    n_threads = effective_n_threads(n_jobs)
    shape = (X.shape[0], Y.shape[0])
    dtype = np.float32 if X.dtype == np.float32 else np.float64
    if out is None:
        out = np.empty(shape, dtype)
    else:
        _validation.check_out(out, shape, dtype)
        if np.may_share_memory(out, X) or np.may_share_memory(out, Y):
            raise ValueError("out must not overlap the input arrays")

    frame = (None, 1.0) if X.dtype == np.uint8 else packing_frame(Y)
    if frame is None:  # no tile holds such values: every entry in difference form
        center, scale, float32_tiles, again = np.zeros(X.shape[1]), 1.0, False, np.inf
    else:
        (center, scale), again = frame, None
        float32_tiles = (
            X.dtype == np.float32
            and X.size * Y.shape[0] >= MIN_FLOAT32_WORK
            and float32_tiles_serve(X, Y, metric, center, scale)
        )
    fill_distances(X, Y, metric, out, symmetric, n_threads, center, scale, float32_tiles, again)
    return out
