"""What all displays share: matplotlib when it is needed, checks, images of rows."""

import math
import operator

import numpy as np
from sklearn.utils.validation import check_is_fitted

from .. import _validation

CIFAR10_SHAPE = (3, 32, 32)
# Of a grid of pictures.
N_COLUMNS = 5


def import_pyplot(caller):
    try:
        import matplotlib.pyplot
    except ImportError as error:
        raise ImportError(
            f'{caller} needs matplotlib: pip install "fastnn-kernels[plot]"'
        ) from error
    return matplotlib.pyplot


def check_attributes(estimator, what, *names):
    """Refuse estimators that are of another kind, or not fitted."""
    check_is_fitted(estimator)
    missing = [name for name in names if not hasattr(estimator, name)]
    if missing:
        raise TypeError(
            f"estimator must be {what}, got {type(estimator).__name__} without "
            f"{' and '.join(missing)}"
        )


def check_values(values, name, dimensions):
    """Return numbers as a float64 array that is not empty and of one of these dimensions."""
    array = _validation.check_floats(values, name).astype(np.float64)
    if array.ndim not in dimensions or not array.size:
        wanted = " or ".join(f"{d}-D" for d in dimensions)
        raise ValueError(f"{name} must be {wanted} and not empty, got shape {array.shape}")
    return array


def check_image_shape(image_shape, n_features):
    if image_shape is None:
        if n_features == math.prod(CIFAR10_SHAPE):
            return CIFAR10_SHAPE
        side = math.isqrt(n_features)
        if side * side != n_features:
            raise ValueError(
                f"image_shape must be given, as {n_features} features are no square image"
            )
        return side, side
    try:
        shape = tuple(operator.index(length) for length in image_shape)
    except TypeError:
        raise TypeError(f"image_shape must be a tuple of integers, got {image_shape!r}") from None
    has_right_form = len(shape) == 2 or (len(shape) == 3 and 3 in (shape[0], shape[2]))
    if not has_right_form or min(shape) < 1 or math.prod(shape) != n_features:
        raise ValueError(
            f"image_shape must be (h, w), (h, w, 3) or (3, h, w) with a product of {n_features}, "
            f"the number of features, got {shape}"
        )
    return shape


def check_names(names, n_names):
    names = [str(name) for name in names]
    if len(names) != n_names:
        raise ValueError(f"class_names must be {n_names} names, got {len(names)}")
    return names
