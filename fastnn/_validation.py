"""The border: array-likes in, arrays that the kernels take out; bad input is refused here.

Nothing below this module checks anything. An array that is already right passes in about a
microsecond, without a copy.
"""

import math
import numbers
import operator

import numpy as np
from sklearn import utils

from ._core._jobs import ieee_arithmetic
from ._core.training._losses import find_label_outside

FLOAT32 = np.dtype(np.float32)
FLOAT64 = np.dtype(np.float64)
UINT8 = np.dtype(np.uint8)
NATIVE = (FLOAT32, FLOAT64, UINT8)
FLOATS = (FLOAT32, FLOAT64)
# Every value of these fits float32's 24 bits.
WIDENED_TO_FLOAT32 = (np.float16, np.int8, np.int16, np.uint16)
EXACT_IN_FLOAT64 = 2**53


def check_n_neighbors(n_neighbors, n_samples, name="n_neighbors"):
    """Return `n_neighbors` as an int between 1 and `n_samples`."""
    k = check_integer(n_neighbors, name)
    if k < 1:
        raise ValueError(f"Expected {name} > 0, got {k}")
    if k > n_samples:
        raise ValueError(
            f"Expected {name} <= n_samples_fit, but {name} = {k}, n_samples_fit = {n_samples}"
        )
    return k


def is_native(X):
    """Whether the kernels take these rows as they are, but for the layout in memory."""
    return type(X) is np.ndarray and X.dtype in NATIVE and X.ndim == 2 and X.size > 0


def check_rows(X, name):
    """Return `X` as a C-contiguous 2-D array of float32, float64 or uint8, exactly.

    Parameters
    ----------
    X : array-like of shape (n, d), n >= 1 and d >= 1
    name : str
        The argument's name, for the messages.

    Returns
    -------
    ndarray
        `X` itself where it is right already. bool becomes uint8; float16, int8, int16 and uint16
        become float32; wider integers float64. Values are not checked, but for integers that
        float64 cannot hold.

    Raises
    ------
    TypeError
        For sparse matrices and for dtypes that hold no real numbers.
    ValueError
        If `X` is not two-dimensional, is empty, or holds integers beyond 2**53.
    """
    if not is_native(X):
        X = _to_native(X, name)
    if X.size == 0:
        raise ValueError(
            f"{name} must have at least one row and one feature, got an array of shape {X.shape}"
        )
    flags = X.flags
    if not (flags.c_contiguous and flags.aligned):
        X = np.array(X, order="C")
    return X


def _to_native(X, name):
    if hasattr(X, "tocsr") or type(X).__module__.startswith("scipy.sparse"):
        raise TypeError(
            f"{name} must be a dense array, got a sparse {type(X).__name__}; use toarray()"
        )
    if np.ma.is_masked(X):
        raise ValueError(f"{name} must have no masked values")
    if hasattr(X, "dtypes"):
        return check_rows(_values_of_frame(X, name), name)
    try:
        X = np.asarray(X)
    except ValueError as error:  # ragged sequences
        raise ValueError(f"{name} must be a rectangular array of numbers: {error}") from None
    if X.dtype.kind not in "biuf" or X.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers of up to 64 bits, got dtype {X.dtype}")
    if X.ndim != 2:
        raise ValueError(
            f"{name} must be a 2-D array of shape (n_samples, n_features), got {X.ndim}-D with "
            f"shape {X.shape}; a single sample is X.reshape(1, -1), a single feature "
            "X.reshape(-1, 1)"
        )
    if X.dtype.kind == "b":
        return X.view(np.uint8)
    if X.dtype.type in WIDENED_TO_FLOAT32:
        return X.astype(FLOAT32, order="C")
    if X.dtype.kind in "iu" and X.dtype.itemsize == 8 and X.size:
        low, high = int(X.min()), int(X.max())
        if low < -EXACT_IN_FLOAT64 or high > EXACT_IN_FLOAT64:
            raise ValueError(
                f"{name} must hold integers of at most 2**53 in magnitude, which float64 "
                f"represents exactly, got values from {low} to {high}"
            )
    if X.dtype.kind == "f" or X.dtype == UINT8:
        return X.astype(X.dtype.newbyteorder("="), order="C", copy=False)
    return X.astype(FLOAT64, order="C")


def _values_of_frame(frame, name):
    """Return a data frame's values, NaN for what is missing, as scikit-learn's estimators do.

    Columns may have pandas' nullable types or Arrow's.
    """
    from sklearn.utils import check_array

    return check_array(
        frame,
        dtype="numeric",
        ensure_all_finite=False,
        ensure_2d=False,
        allow_nd=True,
        ensure_min_samples=0,
        ensure_min_features=0,
        input_name=name,
    )


def as_array(X):
    """Return arrays of other libraries as NumPy's, of the same type, and others as they are.

    scikit-learn does not know the types of tensors, and would widen bytes.
    """
    is_array = hasattr(X, "__array__") and hasattr(X, "dtype") and not isinstance(X, np.ndarray)
    return np.asarray(X) if is_array else X


def holds_integers(X):
    """Whether array-likes that have passed the border hold integers, and no floats."""
    if hasattr(X, "dtypes"):
        X = _values_of_frame(X, "X")
    return np.asarray(X).dtype.kind in "biu"


def check_pair(X, Y, x_name="X", y_name="Y"):
    """Return both as `check_rows` does, of one dtype and with the same number of features."""
    X = check_rows(X, x_name)
    Y = X if Y is X else check_rows(Y, y_name)
    if X.shape[1] != Y.shape[1]:
        raise ValueError(
            f"{x_name} and {y_name} must have the same number of features, got {X.shape[1]} and "
            f"{Y.shape[1]}"
        )
    return to_common_dtype(X, Y)


def to_common_dtype(X, Y):
    """Return X and Y in the narrowest of the kernels' dtypes that holds both exactly."""
    if X.dtype is Y.dtype or X.dtype == Y.dtype:
        return X, Y
    common = FLOAT64 if FLOAT64 in (X.dtype, Y.dtype) else FLOAT32
    _kept = ieee_arithmetic()
    return X.astype(common, copy=False), Y.astype(common, copy=False)


def is_finite(X):
    """Whether all values of an array are finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        total = X.sum()
    # A sum may overflow, and opposite infinities give NaN.
    return math.isfinite(total) or bool(np.isfinite(X).all())


def require_finite(X, name, first_row=0, allow_nan=False):
    """Raise a ValueError that says where `X` has a NaN or an infinity, if anywhere.

    `first_row`: the number of X's first row. `allow_nan`: NaN is no error.
    """
    if X.dtype == UINT8:
        return
    rows = max(1, (1 << 20) // X.shape[1])  # a mask of the whole array could be large
    for start in range(0, X.shape[0], rows):
        part = X[start : start + rows]
        finite = ~np.isinf(part) if allow_nan else np.isfinite(part)
        if not finite.all():
            row, column = np.unravel_index(finite.argmin(), finite.shape)
            value = X[start + row, column]
            what = "NaN" if np.isnan(value) else "infinity"
            raise ValueError(
                f"{name} must hold finite numbers, got {what} at row "
                f"{first_row + start + row}, column {column}"
            )


def check_labels(y, n_samples, n_classes, name="y"):
    """Return classes as a C-contiguous int64 array of shape (n_samples,).

    Raises
    ------
    TypeError
        If `y` does not hold integers.
    ValueError
        If its shape is another, or a class is not in 0 to n_classes - 1.
    """
    y = np.asarray(y)
    if y.dtype.kind not in "biu":
        raise TypeError(f"{name} must hold integers, the classes, got dtype {y.dtype}")
    if y.shape != (n_samples,):
        raise ValueError(
            f"{name} must have shape ({n_samples},), a class for each row, got {y.shape}"
        )
    # A view, where it is one, turns what int64 cannot hold into negative classes.
    labels = np.ascontiguousarray(y, np.int64)
    row = find_label_outside(labels, n_classes)
    if row >= 0:
        raise ValueError(
            f"{name} must hold classes from 0 to {n_classes - 1}, got {y[row]} at row {row}"
        )
    return labels


def check_sample_weight(sample_weight, n_samples, may_vanish=False):
    """Return weights as float64 of shape (n_samples,) with the mean 1, or None for None.

    All of them are 0 only if that is allowed.
    """
    if sample_weight is None:
        return None
    weights = np.ascontiguousarray(check_floats(sample_weight, "sample_weight"), np.float64)
    if weights.shape != (n_samples,):
        raise ValueError(f"sample_weight must have shape ({n_samples},), got {weights.shape}")
    if may_vanish and not weights.any():
        return weights
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
        raise ValueError(
            "sample_weight must hold finite numbers of at least zero, not all of them zero, "
            f"got values from {weights.min()} to {weights.max()}"
        )
    with np.errstate(over="ignore"):
        mean = weights.mean()
    if not np.isfinite(mean):  # their sum overflows
        weights = weights / weights.max()
        mean = weights.mean()
    return weights / mean


def check_random_state(seed):
    """Return what scikit-learn's function of that name does; of a NumPy Generator, too.

    That one gives a seed, as what is drawn here is drawn by a RandomState.
    """
    return utils.check_random_state(legacy_seed(seed))


def legacy_seed(seed):
    """Return a seed that scikit-learn takes, too: drawn, if it is a Generator."""
    return int(seed.integers(2**32)) if isinstance(seed, np.random.Generator) else seed


def check_number(value, name, low=None, *, finite=True):
    """Return `value` as a float that is at least `low`, no NaN, and finite if it has to be."""
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, got {type(value).__name__}")
    number = float(value)
    wrong = not math.isfinite(number) if finite else math.isnan(number)
    if wrong or (low is not None and number < low):
        wanted = ("a finite number" if finite else "a number") + (
            "" if low is None else f" >= {low}"
        )
        raise ValueError(f"{name} must be {wanted}, got {number}")
    return number


def check_recall(value):
    """Return `value` as a float above 0 and at most 1."""
    recall = check_number(value, "recall")
    if not 0.0 < recall <= 1.0:
        raise ValueError(f"recall must be above 0 and at most 1, got {recall}")
    return recall


def check_positive(value, name):
    """Return `value` as a float that is finite and above 0."""
    number = check_number(value, name)
    if number <= 0:
        raise ValueError(f"{name} must be above 0, got {number}")
    return number


def check_integer(value, name, low=None):
    """Return `value` as an int of at least `low`."""
    try:
        integer = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {type(value).__name__}") from None
    if low is not None and integer < low:
        raise ValueError(f"{name} must be at least {low}, got {integer}")
    return integer


def check_callable(value, name):
    """Raise a TypeError unless `value` is callable."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, got {type(value).__name__}")


def check_floats(values, name):
    """Return real numbers of any shape as an array of float32, where they are of it, or float64."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    return array if array.dtype == FLOAT32 else array.astype(FLOAT64)


def as_number(value, name):
    """Return what the function `name` has returned as a float."""
    is_array = isinstance(value, np.ndarray)
    if is_array and value.shape == () and value.dtype.kind in "biuf":
        value = value.item()
    if not isinstance(value, numbers.Real):
        what = f"an array of shape {value.shape}" if is_array else type(value).__name__
        raise TypeError(f"{name} must return a number, got {what}")
    return float(value)


def check_name(value, names, name):
    """Return `value`, one of `names`."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, got {type(value).__name__}")
    if value not in names:
        known = ", ".join(repr(known) for known in names)
        raise ValueError(f"{name} must be one of {known}, got {value!r}")
    return value


def check_out(out, shape, dtype):
    """Check that results of this shape and dtype can be written to `out` as it is."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray, got {type(out).__name__}")
    if out.dtype != dtype or out.shape != shape:
        raise ValueError(
            f"out must have shape {shape} and dtype {np.dtype(dtype)}, "
            f"got {out.shape} and {out.dtype}"
        )
    if not out.flags.carray:
        raise ValueError("out must be C-contiguous, aligned and writeable, got one that is not")
