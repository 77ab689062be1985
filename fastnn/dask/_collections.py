"""Arrays, frames and files as Dask arrays whose chunks are whole rows."""

import copy
import math

import dask.array as da
import numpy as np
from dask import is_dask_collection

from .. import _validation


def as_rows(X, name, rows_per_chunk=None):
    """Return rows as a Dask array of known shape, a chunk for some rows with all their features.

    Parameters
    ----------
    X : Dask array or data frame, or array-like, of shape (n, d)
    name : str
        The argument's name, for the messages.
    rows_per_chunk : int, optional
        Of what is no Dask collection; None: as many as Dask's configuration says.

    Raises
    ------
    TypeError, ValueError
        As `_validation.check_rows`. Values are left to whoever reads the chunks.
    """
    if not is_dask_collection(X):
        return _from_memory(X, name, rows_per_chunk)
    X = _with_known_shape(X)
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
    if is_dask_collection(y):
        y = _with_known_shape(y)
    else:
        y = np.asarray(y)
        y = y[:, 0] if y.ndim == 2 and y.shape[1] == 1 else y
        y = da.from_array(y, chunks=-1)
    if y.ndim not in (1, 2) or y.shape[0] != rows.shape[0]:
        raise ValueError(
            f"{name} must have a value for each of the {rows.shape[0]} rows, got shape {y.shape}"
        )
    chunks = (rows.chunks[0], *((size,) for size in y.shape[1:]))
    return y if y.chunks == chunks else y.rechunk(chunks)


def starts_of(rows):
    """Return a Dask array with the number of each chunk's first row."""
    starts = np.cumsum([0, *rows.chunks[0][:-1]], dtype=np.int64)
    return da.from_array(starts, chunks=1)


def some_rows(rows, indices):
    """Return an array of some rows; `indices` ascend."""

    def pick(block, start):
        inside = indices[(indices >= start[0]) & (indices < start[0] + len(block))]
        return np.asarray(block)[inside - start[0]]

    return np.concatenate(of_each_chunk(pick, rows, starts_of(rows)))


def values_of(y):
    """Return the distinct values of a Dask array, ascending."""
    return np.unique(np.concatenate(of_each_chunk(np.unique, y)))


def class_numbers(y, classes):
    """Return a Dask array of the number of each class, column by column."""

    def encode(block):
        if block.ndim == 1:
            return np.searchsorted(classes, block)
        columns = zip(classes, block.T, strict=True)
        return np.stack([np.searchsorted(*pair) for pair in columns], axis=1)

    axes = "ij"[: y.ndim]
    return da.blockwise(
        encode, axes, y, axes, dtype=np.int64, meta=np.empty((0,) * y.ndim, np.int64),
        concatenate=True,
    )  # fmt: skip


def of_each_chunk(function, *arrays):
    """Return the list of what a function returns for each chunk of rows of some Dask arrays."""

    def boxed(*chunks):
        box = np.empty(1, object)
        box[0] = function(*chunks)
        return box

    arguments = [argument for array in arrays for argument in (array, "ijk"[: array.ndim])]
    return da.blockwise(
        boxed, "i", *arguments, dtype=object, concatenate=True, align_arrays=False,
        adjust_chunks={"i": 1}, meta=np.empty(0, object),
    ).compute().tolist()  # fmt: skip


def _with_known_shape(X):
    if hasattr(X, "to_dask_array"):  # a data frame or a series
        return X.to_dask_array(lengths=True)
    if any(math.isnan(size) for sizes in X.chunks for size in sizes):
        return copy.copy(X).compute_chunk_sizes()  # which changes an array in place
    return X


def _from_memory(X, name, rows_per_chunk):
    mapped = _mapped_file(X)
    X = X if mapped else _validation.check_rows(X, name)
    size = "auto" if rows_per_chunk is None else min(rows_per_chunk, len(X))
    if not mapped:
        return da.from_array(X, chunks=(size, X.shape[1]))
    # Tasks that read their rows from the file: in the graph there is its name alone.
    filename, offset = mapped
    (sizes, _) = da.core.normalize_chunks((size, X.shape[1]), X.shape, dtype=X.dtype)
    stops = np.cumsum(sizes, dtype=np.int64)
    ranges = da.from_array(np.stack([stops - sizes, stops], axis=1), chunks=(1, 2))
    d, dtype = X.shape[1], X.dtype

    def read(of_chunk):
        (first, stop), row_bytes = of_chunk[0].tolist(), d * dtype.itemsize
        n_values = (stop - first) * d
        return np.fromfile(filename, dtype, n_values, offset=offset + first * row_bytes).reshape(
            -1, d
        )

    return da.map_blocks(
        read, ranges, chunks=(sizes, (d,)), dtype=dtype, meta=np.empty((0, 0), dtype)
    )


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
