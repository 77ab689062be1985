"""Arrays, frames and files as Dask arrays whose chunks are whole rows, and checks of chunks."""

import copy
import math
import os
from functools import partial

import dask
import dask.array as da
import numpy as np
from dask import is_dask_collection
from dask.delayed import Delayed
from sklearn.utils.validation import column_or_1d

from .. import _validation
from .._sklearn.private import check_feature_names
from .._training.targets import check_classes

# ---- collections ---------------------------------------------------------------------------------


def as_rows(X, name, rows_per_chunk=None):
    """Return rows as a Dask array of known shape, a chunk for some rows with all their features.

    Parameters
    ----------
    X : Dask array or data frame, or array-like, of shape (n, d)
    name : str
        The argument's name, for the messages.
    rows_per_chunk : int, optional
        For input that is not a Dask collection; None: as many as Dask's configuration says.

    Raises
    ------
    TypeError, ValueError
        As `_validation.check_rows`. Values are left to `check_chunk`.
    """
    if not is_dask_collection(X):
        return _from_memory(X, name, rows_per_chunk)
    X = as_array(X, name)
    if X.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers of up to 64 bits, got dtype {X.dtype}")
    if X.ndim != 2:
        raise ValueError(f"{name} must be 2-D, of shape (n_samples, n_features), got {X.ndim}-D")
    if 0 in X.shape:
        raise ValueError(
            f"{name} must have at least one row and one feature, got an array of shape {X.shape}"
        )
    return X if len(X.chunks[1]) == 1 else X.rechunk({1: -1})


def as_targets(y, rows, name="y"):
    """Return what belongs to each row as a Dask array with the chunks of the rows."""
    y = as_array(y, name) if is_dask_collection(y) else da.from_array(np.asarray(y), chunks=-1)
    if y.ndim not in (1, 2) or y.shape[0] != rows.shape[0] or 0 in y.shape:
        raise ValueError(
            f"{name} must have a value for each of the {rows.shape[0]} rows, got shape {y.shape}"
        )
    chunks = (rows.chunks[0], *((size,) for size in y.shape[1:]))
    return y if y.chunks == chunks else y.rechunk(chunks)


def as_column(y):
    """Return the only column of an array of shape (n, 1), and others as they are."""
    return y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y


def as_array(X, name):
    """Return a Dask array, or data frame, as a Dask array of known shape."""
    if hasattr(X, "to_dask_array") and not isinstance(X, Delayed):
        if dask.config.get("array.query-planning", False):
            raise TypeError(
                f"{name} must be an array while 'array.query-planning' is on, got a data frame, "
                "which Dask makes no arrays of then"
            )
        dtypes = [_numpy_dtype(t) for t in X.dtypes] if X.ndim == 2 else []
        if np.dtype(object) in dtypes or len({t.kind for t in dtypes}) > 1:
            X = X.astype(np.float64)  # pandas' nullable types, numbers of several, or no numbers
        X = X.to_dask_array(lengths=True)
    if not isinstance(X, da.Array):
        raise TypeError(f"{name} must be a Dask array or data frame, got {type(X).__name__}")
    if any(math.isnan(size) for sizes in X.chunks for size in sizes):
        return copy.copy(X).compute_chunk_sizes()  # which changes an array in place
    return X


def _numpy_dtype(dtype):
    return dtype if isinstance(dtype, np.dtype) else np.dtype(object)


def _from_memory(X, name, rows_per_chunk):
    mapped = _mapped_file(X)
    X = X if mapped else _validation.check_rows(X, name)
    size = "auto" if rows_per_chunk is None else min(rows_per_chunk, len(X))
    if not mapped:
        return da.from_array(X, chunks=(size, X.shape[1]))
    sizes, widths = da.core.normalize_chunks((size, X.shape[1]), X.shape, dtype=X.dtype)
    stops = np.cumsum(sizes, dtype=np.int64)
    ranges = da.from_array(np.stack([stops - sizes, stops], axis=1), chunks=(1, 2))
    # The file's time and size tell tasks apart that read other values.
    stamp = os.stat(mapped[0])
    read = partial(read_rows, mapped, X.shape[1], X.dtype, (stamp.st_mtime_ns, stamp.st_size))
    return da.map_blocks(
        read, ranges, chunks=(sizes, widths), dtype=X.dtype, meta=np.empty((0, 0), X.dtype)
    )


def read_rows(file, n_features, dtype, stamp, of_chunk):
    """Return rows of a file; in the graph there is nothing but its name."""
    (name, offset), (first, stop) = file, of_chunk[0].tolist()
    first_byte = offset + first * n_features * dtype.itemsize
    values = np.fromfile(name, dtype, (stop - first) * n_features, offset=first_byte)
    if values.size < (stop - first) * n_features:
        raise ValueError(f"{name} has become shorter: it has no rows {first} to {stop} any more")
    return values.reshape(stop - first, n_features)


def _mapped_file(X):
    """Return (name, offset) of the file that whole rows of a memory-mapped array are in, or None.

    Also of consecutive rows of such an array.
    """
    if not (
        isinstance(X, np.memmap)
        and X.filename is not None
        and X.ndim == 2
        and X.size
        and X.dtype.isnative
        and X.dtype in _validation.NATIVE
        and X.flags.c_contiguous
    ):
        return None
    root = X
    while isinstance(root.base, np.memmap):
        root = root.base
    if root.mode == "c":  # changes are in memory alone
        return None
    return str(root.filename), root.offset + X.ctypes.data - root.ctypes.data


def check_width(rows, estimator):
    """Raise a ValueError if rows have other features than those of the fit."""
    if rows.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {rows.shape[1]} features, but {type(estimator).__name__} is expecting "
            f"{estimator.n_features_in_} features as input."
        )


def check_names(estimator, X, reset):
    """Take over, or compare, the names of a frame's columns, as scikit-learn does."""
    check_feature_names(estimator, getattr(X, "_meta", X), reset=reset)


def score(metric, y, predicted, sample_weight):
    """Return a metric of what was predicted, all of which may be collections."""
    values = [as_array(v, "y") if is_dask_collection(v) else v for v in (y, sample_weight)]
    y, weights, predicted = dask.compute(*values, predicted)
    return metric(y, predicted, sample_weight=weights)


# ---- chunks --------------------------------------------------------------------------------------


def ranges_of(rows):
    """Return a Dask array (n_chunks, 2): the first row of each chunk, and where it ends."""
    stops = np.cumsum(rows.chunks[0], dtype=np.int64)
    return da.from_array(np.stack([stops - rows.chunks[0], stops], axis=1), chunks=(1, 2))


def check_chunk(rows, of_chunk, n_features, name="X"):
    """Return a chunk's rows as the kernels take them.

    Raises
    ------
    TypeError, ValueError
        If they are not what the collection says; for NaN and infinity, named by their row.
    """
    first, stop = of_chunk[0].tolist()
    shape = getattr(rows, "shape", ())
    if shape != (stop - first, n_features):
        raise ValueError(
            f"{name} must have chunks of the shapes that it says, {(stop - first, n_features)} for "
            f"rows {first} to {stop}, got {shape}"
        )
    if first == stop:
        return np.empty((0, n_features), rows.dtype)
    rows = _validation.check_rows(rows, name)
    _validation.require_finite(rows, name, first)
    return rows


def check_numbers(y, of_chunk, name="y"):
    """Return numbers that belong to a chunk's rows, and raise where they are not finite."""
    y = _values_of(y, of_chunk, name)
    if y.dtype.kind == "f" and len(y):
        columns = y[:, None] if y.ndim == 1 else y
        _validation.require_finite(columns, name, int(of_chunk[0, 0]))
    return y


def check_weights(weights, of_chunk):
    """Return weights of rows as float64, and raise where they are none."""
    weights = check_numbers(weights, of_chunk, "sample_weight").astype(np.float64)
    if (weights < 0.0).any():
        raise ValueError(f"sample_weight must be at least zero, got {weights.min()}")
    return weights


def _values_of(y, of_chunk, name):
    if np.ma.is_masked(y):
        raise ValueError(f"{name} must have no masked values")
    first, stop = of_chunk[0].tolist()
    if len(y) != stop - first:
        raise ValueError(
            f"{name} must have chunks as long as it says, {stop - first} for rows {first} to "
            f"{stop}, got {len(y)}"
        )
    return np.asarray(y)


def checked(function, y, rows, dtype):
    """Return a Dask array of what a function of (chunk, range) makes of the chunks of y."""
    axes = "ij"[: y.ndim]
    return da.blockwise(
        function, axes, y, axes, ranges_of(rows), "ir", dtype=dtype, concatenate=True,
        align_arrays=False, meta=np.empty((0,) * y.ndim, dtype),
    )  # fmt: skip


def classes_of(y, rows):
    """Return the distinct values of a Dask array, ascending, if they are classes."""
    try:
        found = of_each_chunk(distinct_values, y, ranges_of(rows))
        classes = np.unique(np.concatenate(found))
    except TypeError as error:
        raise TypeError(f"y must hold classes of one type, which can be sorted: {error}") from None
    return check_classes(column_or_1d(classes), takes_labels=False)


def distinct_values(y, of_chunk):
    return np.unique(check_numbers(y, of_chunk))


def class_numbers(y, classes, is_kept):
    """Return a Dask array of the number of each class, column by column.

    `is_kept`: y has been persisted. Dask wants other names for tasks with other dependencies.
    """
    axes = "ij"[: y.ndim]
    return da.blockwise(
        partial(encode, classes), axes, y, axes, dtype=np.int64, concatenate=True,
        meta=np.empty((0,) * y.ndim, np.int64),
        token="kept-class-numbers" if is_kept else "class-numbers",
    )  # fmt: skip


def encode(classes, y):
    if y.ndim == 1:
        return np.searchsorted(classes, y)
    return np.stack([np.searchsorted(*pair) for pair in zip(classes, y.T, strict=True)], axis=1)


def some_rows(rows, indices):
    """Return an array of some rows; `indices` ascend."""
    return np.concatenate(of_each_chunk(partial(pick, indices), rows, ranges_of(rows)))


def pick(indices, rows, of_chunk):
    first, stop = of_chunk[0]
    return np.asarray(rows)[indices[(indices >= first) & (indices < stop)] - first]


def of_each_chunk(function, *arrays):
    """Return the list of what a function returns for each chunk of rows of some Dask arrays."""
    names = iter("jklm")  # of what is contracted, a chunk each
    arguments = []
    for array in arrays:
        arguments += [array, "i" + "".join(next(names) for _ in range(array.ndim - 1))]
    return da.blockwise(
        partial(boxed, function), "i", *arguments, dtype=object, concatenate=True,
        align_arrays=False, adjust_chunks={"i": 1}, meta=np.empty(0, object),
    ).compute().tolist()  # fmt: skip


def as_they_are(chunk, axis=None, keepdims=True):
    """Leave a chunk to the steps of a reduction that follow."""
    return chunk


def boxed(function, *chunks):
    box = np.empty(1, object)
    box[0] = function(*chunks)
    return box
