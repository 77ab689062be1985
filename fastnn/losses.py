"""Losses of scores, of linear classifiers, and the rectifier: values and analytic gradients.

All results are the same, bit for bit, for any number of threads: sums run over blocks of rows that
depend on the shapes alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import _validation
from ._core._threads import effective_n_threads
from ._core.training import _losses
from ._core.training._linear import LinearModel

__all__ = [
    "linear_loss",
    "losses_on_plane",
    "relu",
    "relu_backward",
    "softmax_loss",
    "svm_loss",
]

LOSSES = ("svm", "softmax")


def svm_loss(
    scores: ArrayLike,
    y: ArrayLike,
    margin: float = 1.0,
    *,
    sample_weight: ArrayLike | None = None,
    out: NDArray[np.floating] | None = None,
    n_jobs: int | None = None,
) -> tuple[float, NDArray[np.floating]]:
    """Multiclass hinge loss of Weston and Watkins, and its gradient.

    The loss of a row is the sum over its wrong classes j of max(0, s_j - s_y + margin).

    Parameters
    ----------
    scores : array-like of shape (n, n_classes)
        float32 and float64 are taken as they are, other real dtypes widened.
    y : array-like of shape (n,), integers
        The right classes, 0 to n_classes - 1.
    margin : float, default=1.0
    sample_weight : array-like of shape (n,), optional
        The mean becomes the weighted mean.
    out : ndarray of shape (n, n_classes), optional
        Receives the gradient; may be `scores` itself. Of the scores' dtype.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.

    Returns
    -------
    loss : float
        Mean over the rows.
    dscores : ndarray of shape (n, n_classes)
        The derivatives of the mean loss. Where a margin is met exactly (s_j - s_y + margin = 0)
        the subgradient 0 is taken.

    Raises
    ------
    TypeError
        If `y` does not hold integers, or `scores` no real numbers.
    ValueError
        For NaN or infinity, empty input, classes out of range, shapes that do not fit.

    References
    ----------
    J. Weston and C. Watkins, "Support vector machines for multi-class pattern recognition",
    ESANN 1999.

    Examples
    --------
    >>> from fastnn.losses import svm_loss
    >>> loss, dscores = svm_loss([[3.2, 5.1, -1.7]], [0])
    >>> round(loss, 6)
    2.9
    >>> dscores
    array([[-1.,  1.,  0.]])
    """
    margin = _validation.check_number(margin, "margin")
    return _loss_of_scores(scores, y, "svm", margin, sample_weight, out, n_jobs)


def softmax_loss(
    scores: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    out: NDArray[np.floating] | None = None,
    n_jobs: int | None = None,
) -> tuple[float, NDArray[np.floating]]:
    """Cross-entropy loss of the softmax of scores, and its gradient.

    The loss of a row is log(sum over j of exp(s_j)) - s_y, evaluated after the row's largest score
    is subtracted, so that scores of any size are fine.

    Parameters
    ----------
    scores : array-like of shape (n, n_classes)
        float32 and float64 are taken as they are, other real dtypes widened. -inf masks a class:
        its probability is 0, and the loss of rows whose class it is infinite.
    y : array-like of shape (n,), integers
        The right classes, 0 to n_classes - 1.
    sample_weight : array-like of shape (n,), optional
        The mean becomes the weighted mean.
    out : ndarray of shape (n, n_classes), optional
        Receives the gradient; may be `scores` itself. Of the scores' dtype.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.

    Returns
    -------
    loss : float
        Mean over the rows, in nats.
    dscores : ndarray of shape (n, n_classes)
        The derivatives of the mean loss: (softmax(s) - onehot(y)) / n.

    Raises
    ------
    TypeError
        If `y` does not hold integers, or `scores` no real numbers.
    ValueError
        For NaN or +infinity, rows of -inf alone, empty input, classes out of range, shapes that do
        not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import softmax_loss
    >>> loss, dscores = softmax_loss(np.zeros((5, 10)), np.arange(5))
    >>> round(loss, 4)  # log(10): all classes are equally likely
    2.3026
    >>> softmax_loss([[1e30, -1e30]], [0])[0]
    0.0
    """
    return _loss_of_scores(scores, y, "softmax", 0.0, sample_weight, out, n_jobs)


def _loss_of_scores(scores, y, loss, margin, sample_weight, out, n_jobs):
    scores = _floats(_validation.check_rows(scores, "scores"))
    n, n_classes = scores.shape
    labels = _validation.check_labels(y, n, n_classes)
    weights = _shares_of_mean(sample_weight, n)
    gradient = _check_target(out, {"scores": scores})
    factor, in_place = 1.0, out is not None and out.ctypes.data == scores.ctypes.data
    n_threads = effective_n_threads(n_jobs)
    if in_place and loss == "softmax" and np.isneginf(scores).any():
        return _loss_with_masks(scores, labels, weights, gradient, n_threads), gradient
    if in_place:  # they would be gone afterwards
        _validation.require_finite(scores, "scores")
        factor = _factor_for_differences(scores, loss)

    def sum_losses(factor):
        shrunk = scores if factor == 1.0 else scores * scores.dtype.type(factor)
        return _losses.sum_losses(
            shrunk, labels, weights, loss, margin * factor, gradient, n_threads
        )

    mean = sum_losses(factor)
    if np.isnan(mean):
        if loss == "softmax" and np.isneginf(scores).any():
            return _loss_with_masks(scores, labels, weights, gradient, n_threads), gradient
        _validation.require_finite(scores, "scores")
        factor = _factor_for_differences(scores, loss)
        mean = sum_losses(factor)
    return mean / factor, gradient


def _loss_with_masks(scores, labels, weights, gradient, n_threads):
    """The softmax loss where scores of -inf say which classes cannot be.

    Their probability and derivative are 0. Where that is the right class the loss is infinite.
    """
    masked = np.isneginf(scores)
    _validation.require_finite(np.where(masked, 0, scores), "scores")
    if masked.all(axis=1).any():
        row = masked.all(axis=1).argmax()
        raise ValueError(f"scores must hold a number above -inf in each row, got none in row {row}")
    with np.errstate(over="ignore"):
        differences = scores - scores.max(axis=1, keepdims=True)
    # What no kernel tells from 0 any more, and is taken out afterwards.
    differences[np.isneginf(differences)] = -1000
    right = np.arange(len(scores)), labels
    hopeless = masked[right]
    mean = _losses.sum_losses(differences, labels, weights, "softmax", 0.0, gradient, n_threads)
    masked[right] = False
    gradient[masked] = 0
    return np.inf if (weights[hopeless] > 0).any() else mean


def _factor_for_differences(scores, loss):
    """Return a power of two that keeps differences of scores finite, where the loss takes some.

    The hinge loss of scores and margin times a factor is the loss times the factor, and its slopes
    are the same.
    """
    if loss == "svm" and max(scores.max(), -scores.min()) > 0.25 * np.finfo(scores.dtype).max:
        return 0.25
    return 1.0


def _shares_of_mean(sample_weight, n):
    weights = _validation.check_sample_weight(sample_weight, n)
    return np.full(n, 1.0 / n) if weights is None else weights / n


def _floats(X):
    return X.astype(np.float32) if X.dtype == np.uint8 else X


def _check_target(out, inputs):
    """Return where results go: `out`, which may be an input itself, or an array like the first."""
    first = next(iter(inputs.values()))
    if out is None:
        return np.empty_like(first)
    _validation.check_out(out, first.shape, first.dtype)
    for name, array in inputs.items():
        if out.ctypes.data != array.ctypes.data and np.may_share_memory(out, array):
            raise ValueError(f"out must be {name} itself or not overlap with it, got a part of it")
    return out


# ---- linear scores -------------------------------------------------------------------------------


def linear_loss(
    W: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    loss: Literal["softmax", "svm"] = "softmax",
    l2: float = 0.0,
    bias: bool = False,
    *,
    margin: float = 1.0,
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    out: NDArray[np.floating] | None = None,
    n_jobs: int | None = None,
) -> tuple[float, NDArray[np.floating]]:
    """Loss of the linear scores X Wᵀ with an L2 penalty, and its gradient, in one pass over X.

    L(W) = (mean over the rows of the loss of W x) + l2 / 2 * (sum of the squares of W). Each block
    of rows is read from memory once: it is scored, the scores become losses and derivatives, and
    these are accumulated into the gradient while the rows are still in the cache.

    Parameters
    ----------
    W : array-like of shape (n_classes, n_features) or, with `bias`, (n_classes, n_features + 1)
    X : array-like of shape (n, n_features)
        float32, float64 and uint8 are taken as they are, without a copy. Arithmetic is in float64
        where X is float64, else in float32, with sums in blocks.
    y : array-like of shape (n,), integers
        The right classes, 0 to n_classes - 1.
    loss : {"softmax", "svm"}, default="softmax"
        As in `softmax_loss` and `svm_loss`.
    l2 : float, default=0.0
    bias : bool, default=False
        The bias trick: the last column of `W` belongs to a constant feature of 1, which is never
        stored. The result is that of ``np.hstack([X, np.ones((n, 1))])``: the penalty holds for
        this column too.
    margin : float, default=1.0
        For "svm".
    mean, scale : float or array-like of shape (n_features,), optional
        Rows stand for (X - mean) * scale; folded into W, so that X stays as it is. The default is 0
        and 1.
    sample_weight : array-like of shape (n,), optional
        The mean becomes the weighted mean.
    out : ndarray of the shape of `W`, optional
        Receives the gradient; float64 where X is, else float32.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.

    Returns
    -------
    loss : float
    dW : ndarray of the shape of `W`
        float64 where X is, else float32.

    Raises
    ------
    TypeError
        If `y` does not hold integers, or `X` or `W` no real numbers.
    ValueError
        For NaN or infinity, empty input, classes out of range, shapes that do not fit, an unknown
        loss.

    Notes
    -----
    Beside inputs and outputs this takes at most 32 MiB, or two arrays of the size of W.

    Examples
    --------
    Ten classes and small weights: the loss is near log(10), or 9 margins of 1.

    >>> import numpy as np
    >>> from fastnn.losses import linear_loss
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.integers(0, 256, (50, 3072), dtype=np.uint8), rng.integers(0, 10, 50)
    >>> W = 1e-6 * rng.standard_normal((10, 3073))
    >>> loss, dW = linear_loss(W, X, y, bias=True, mean=128, scale=1 / 128)
    >>> round(loss, 4), dW.shape, dW.dtype
    (2.3026, (10, 3073), dtype('float32'))
    >>> round(linear_loss(W, X, y, "svm", bias=True)[0], 2)
    9.0
    """
    X = _validation.check_rows(X, "X")
    W = _check_weights(W, X, bias)
    l2 = _validation.check_number(l2, "l2", low=0)
    model = LinearModel(
        X,
        len(W),
        _validation.check_labels(y, len(X), len(W)),
        _validation.check_name(loss, LOSSES, "loss"),
        _validation.check_number(margin, "margin"),
        l2,
        _validation.check_sample_weight(sample_weight, len(X)),
        *_check_affine(mean, scale, X),
        n_threads=effective_n_threads(n_jobs),
    )
    if out is None:
        out = np.empty(W.shape, model.dtype)
    else:
        _validation.check_out(out, W.shape, model.dtype)
    d = X.shape[1]
    offsets = W[:, d] if bias else np.zeros(len(W))
    with np.errstate(over="ignore"):  # told below
        model.set_weights([W[:, :d]], [offsets])
    value, (gradient,), (bias_gradient,) = model.loss_and_gradient(dtype=model.dtype)
    if not np.isfinite(value):
        _validation.require_finite(X, "X")
        _validation.require_finite(W, "W")
        limit = np.finfo(model.dtype).max
        if max(W.max(), -W.min()) > limit:
            raise ValueError(
                f"W must be within {model.dtype.name}'s range for such X, got values up to "
                f"{np.abs(W).max():.3g}"
            )
    out[:, :d] = gradient
    if bias:
        value += 0.5 * l2 * float(np.square(offsets, dtype=np.float64).sum())
        out[:, d] = bias_gradient + l2 * offsets
    return value, out


def _check_weights(W, X, bias):
    W = _floats(_validation.check_rows(W, "W"))
    wanted = X.shape[1] + bool(bias)
    if W.shape[1] != wanted:
        what = "n_features + 1 columns, the last for the bias" if bias else "n_features columns"
        raise ValueError(f"W must have {what}, here {wanted}, got shape {W.shape}")
    return W


def _check_affine(mean, scale, X):
    """Return (mean, scale) as float64 of shape (n_features,), or (None, None) for neither."""
    if mean is None and scale is None:
        return None, None
    both = []
    for value, name, default in ((mean, "mean", 0.0), (scale, "scale", 1.0)):
        array = _validation.check_floats(default if value is None else value, name)
        array = array.astype(np.float64, copy=False)
        if array.shape not in ((), (X.shape[1],)):
            raise ValueError(
                f"{name} must be a number or of shape ({X.shape[1]},), got shape {array.shape}"
            )
        if not np.isfinite(array).all():
            raise ValueError(f"{name} must hold finite numbers, got {array}")
        both.append(np.ascontiguousarray(np.broadcast_to(array, (X.shape[1],))))
    return tuple(both)


def losses_on_plane(
    W: ArrayLike,
    directions: Sequence[ArrayLike],
    coefficients: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    loss: Literal["softmax", "svm"] = "softmax",
    l2: float = 0.0,
    bias: bool = False,
    *,
    margin: float = 1.0,
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> NDArray[np.float64]:
    """Losses L(W + a W₁ + b W₂ + ...) at many points, from one product.

    Scores are linear in the weights: those along each direction are computed once and combined for
    each point.

    Parameters
    ----------
    W : array-like of shape (n_classes, n_features) or, with `bias`, (n_classes, n_features + 1)
        The origin.
    directions : sequence of arrays of the shape of `W`
        W₁, W₂, ...
    coefficients : array-like of shape (n_points, n_directions)
        a, b, ... of each point.
    X, y, loss, l2, bias, margin, mean, scale, sample_weight, n_jobs
        As in `linear_loss`.

    Returns
    -------
    ndarray of shape (n_points,), float64

    Raises
    ------
    TypeError, ValueError
        As `linear_loss` does, and for directions and coefficients that do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.losses import losses_on_plane
    >>> X, y = np.array([[1.0], [-1.0]]), np.array([0, 1])
    >>> W, W1 = np.zeros((2, 1)), np.array([[1.0], [-1.0]])
    >>> losses_on_plane(W, [W1], [[0.0], [1.0], [2.0]], X, y).round(3)
    array([0.693, 0.127, 0.018])
    """
    X = _validation.check_rows(X, "X")
    if np.ndim(directions) == 2 and isinstance(directions, np.ndarray):
        raise ValueError(
            "directions must be a sequence of arrays of the shape of W, got one array of shape "
            f"{directions.shape}"
        )
    all_W = [_check_weights(matrix, X, bias) for matrix in (W, *directions)]
    shape = all_W[0].shape
    for matrix in all_W:
        if matrix.shape != shape:
            raise ValueError(f"directions must have the shape of W, {shape}, got {matrix.shape}")
        _validation.require_finite(matrix, "W and directions")
    coefficients = _validation.check_floats(coefficients, "coefficients")
    coefficients = np.ascontiguousarray(coefficients, np.float64)
    if coefficients.ndim != 2 or coefficients.shape[1] != len(all_W) - 1:
        raise ValueError(
            f"coefficients must have shape (n_points, {len(all_W) - 1}), got {coefficients.shape}"
        )
    if not np.isfinite(coefficients).all():
        raise ValueError("coefficients must hold finite numbers, got some that are not")
    n_classes, d = shape[0], X.shape[1]
    labels = _validation.check_labels(y, len(X), n_classes)
    loss = _validation.check_name(loss, LOSSES, "loss")
    margin = _validation.check_number(margin, "margin")
    l2 = _validation.check_number(l2, "l2", low=0)
    weights = _shares_of_mean(sample_weight, len(X))
    n_threads = effective_n_threads(n_jobs)
    stacked = np.vstack(all_W)
    mean, scale = _check_affine(mean, scale, X)
    model = LinearModel(X, len(stacked), mean=mean, scale=scale, n_threads=n_threads)
    model.set_weights([stacked[:, :d]], [stacked[:, d] if bias else np.zeros(len(stacked))])
    scores = model.scores()
    if not np.isfinite(scores).all():
        _validation.require_finite(X, "X")
    terms = np.ascontiguousarray(scores.reshape(len(X), -1, n_classes).swapaxes(0, 1))
    values = _losses.losses_of_combinations(
        terms, coefficients, labels, weights, loss, margin, n_threads
    )
    return values + _penalties(all_W, coefficients, l2) if l2 else values


def _penalties(matrices, coefficients, l2):
    """Return l2 / 2 * (the sum of the squares) of W + a W₁ + b W₂ + ... at many points.

    Quadratic in the coefficients: the products of the matrices are all that it takes.
    """
    flat = np.stack([np.ravel(matrix) for matrix in matrices]).astype(np.float64)
    along = np.hstack([np.ones((len(coefficients), 1)), coefficients])
    return 0.5 * l2 * np.einsum("pi,ij,pj->p", along, flat @ flat.T, along)


# ---- the rectifier -------------------------------------------------------------------------------


def relu(
    x: ArrayLike, *, out: NDArray[np.floating] | None = None, n_jobs: int | None = None
) -> NDArray[np.floating]:
    """Rectifier max(0, x), element by element; NaN stays NaN.

    Parameters
    ----------
    x : array-like of any shape
        float32 and float64 are taken as they are, other real dtypes widened.
    out : ndarray of the shape and dtype of `x`, optional
        Receives the result; may be `x` itself.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.

    Returns
    -------
    ndarray of the shape of `x`

    Raises
    ------
    TypeError
        If `x` holds no real numbers, or `out` is not an array.
    ValueError
        If `out` does not fit.

    Examples
    --------
    >>> from fastnn.losses import relu
    >>> relu([-1.0, 0.0, 2.0])
    array([0., 0., 2.])
    """
    x = _check_array(x, "x")
    return _where_positive(x, x, out, {"x": x}, n_jobs)


def relu_backward(
    dout: ArrayLike,
    x: ArrayLike,
    *,
    out: NDArray[np.floating] | None = None,
    n_jobs: int | None = None,
) -> NDArray[np.floating]:
    """Gradient of the rectifier: `dout` where x > 0, else 0; the subgradient at 0 is 0.

    Parameters
    ----------
    dout : array-like of any shape
        The gradient with respect to relu(x).
    x : array-like of the same shape
        What `relu` was given. Where it is NaN, `dout` passes.
    out : ndarray of the shape and dtype of `dout`, optional
        Receives the result; may be `dout` itself, or `x`.
    n_jobs : int, optional
        Threads, as in scikit-learn; None: all the cores that this process may use.

    Returns
    -------
    ndarray of the shape of `dout`
        float64 where one of the two is, else float32.

    Raises
    ------
    TypeError
        If an input holds no real numbers, or `out` is not an array.
    ValueError
        If shapes differ, or `out` does not fit.

    Examples
    --------
    >>> from fastnn.losses import relu_backward
    >>> relu_backward([5.0, 5.0, 5.0], [-1.0, 0.0, 2.0])
    array([0., 0., 5.])
    """
    dout, x = _check_array(dout, "dout"), _check_array(x, "x")
    if dout.shape != x.shape:
        raise ValueError(f"dout and x must have the same shape, got {dout.shape} and {x.shape}")
    dout, x = _validation.to_common_dtype(dout, x)
    return _where_positive(x, dout, out, {"dout": dout, "x": x}, n_jobs)


def _check_array(x, name):
    if type(x) is np.ndarray and x.dtype in _validation.FLOATS and x.flags.carray:
        return x
    array = np.asarray(x)
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers of up to 64 bits, got dtype {array.dtype}")
    if array.dtype not in (np.float32, np.float64):
        exact = array.dtype in (np.uint8, *_validation.WIDENED_TO_FLOAT32)
        array = array.astype(np.float32 if exact else np.float64)
    # Fortran's order would be kept, were it not for the kernels' view of the array as a line.
    return np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")


def _where_positive(x, values, out, inputs, n_jobs):
    out = _check_target(out, inputs)
    if x.size:
        n_threads = effective_n_threads(n_jobs)
        _losses.where_positive(x.reshape(-1), values.reshape(-1), out.reshape(-1), n_threads)
    return out
