"""Minimize any loss: random search, random local search, gradient descent, mini-batch SGD.

All return SciPy's `OptimizeResult` with a history, and all take their step size from the caller:
there is no value that is right for every loss.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult
from sklearn.exceptions import ConvergenceWarning

from . import _validation
from .gradcheck import numerical_gradient

__all__ = ["gradient_descent", "random_local_search", "random_search", "sgd"]

# OptimizeResult.status
DONE, STOPPED, DIVERGED, CONVERGED = 0, 1, 2, 3
MESSAGES = {
    DONE: "All steps were taken.",
    CONVERGED: "No derivative is larger than tol.",
    STOPPED: "The callback raised StopIteration.",
    DIVERGED: "The loss or its gradient was not finite; x is the last point where both were.",
}


# ---- searches by chance --------------------------------------------------------------------------


def random_search(
    loss: Callable[..., Any],
    x0: ArrayLike,
    *,
    step_size: float,
    n_trials: int = 1000,
    random_state: int | RandomState | Generator | None = None,
    callback: Callable[..., object] | None = None,
) -> OptimizeResult:
    """Guess: evaluate independent points from a normal distribution and keep the best.

    The first trial is `x0` itself, the others are ``step_size * standard_normal``.

    Parameters
    ----------
    loss : callable
        Takes an array of the shape of `x0`, returns a number. NaN is worse than any number.
    x0 : array-like of any shape
        float32 stays float32, others become float64.
    step_size : float
        Standard deviation of the guesses.
    n_trials : int, default=1000
        Evaluations of the loss.
    random_state : int, RandomState, Generator or None, default=None
    callback : callable, optional
        Called after each trial as ``callback(intermediate_result=...)``, with the best `x` and
        `fun` so far. StopIteration ends the search.

    Returns
    -------
    OptimizeResult
        The best `x` and its loss `fun`; `history`, ndarray of shape (nit,), the lowest loss after
        each trial; `nit`, `nfev`, `success`, `status` and `message`.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optimize import random_search
    >>> result = random_search(
    ...     lambda x: np.sum((x - 1) ** 2), np.zeros(2), step_size=1.0, random_state=0
    ... )
    >>> result.fun < 0.1, float(result.history[0])
    (True, 2.0)
    """
    return _search(loss, x0, step_size, n_trials, random_state, callback, is_local=False)


def random_local_search(
    loss: Callable[..., Any],
    x0: ArrayLike,
    *,
    step_size: float,
    n_trials: int = 1000,
    random_state: int | RandomState | Generator | None = None,
    callback: Callable[..., object] | None = None,
) -> OptimizeResult:
    """Hill climbing: take a random step from the best point so far if that lowers the loss.

    The first trial is `x0` itself, the others are ``best + step_size * standard_normal``.

    Parameters
    ----------
    loss : callable
        Takes an array of the shape of `x0`, returns a number. NaN is worse than any number.
    x0 : array-like of any shape
        float32 stays float32, others become float64.
    step_size : float
        Standard deviation of the steps.
    n_trials : int, default=1000
        Evaluations of the loss.
    random_state : int, RandomState, Generator or None, default=None
    callback : callable, optional
        As in `random_search`.

    Returns
    -------
    OptimizeResult
        As from `random_search`.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optimize import random_local_search
    >>> result = random_local_search(
    ...     lambda x: np.sum((x - 1) ** 2), np.zeros(20), step_size=0.1, random_state=0
    ... )
    >>> result.fun < 1.0
    True
    """
    return _search(loss, x0, step_size, n_trials, random_state, callback, is_local=True)


def _search(loss, x0, step_size, n_trials, random_state, callback, is_local):
    _validation.check_callable(loss, "loss")
    best = _check_start(x0)
    step_size = _validation.check_positive(step_size, "step_size")
    n_trials = _validation.check_integer(n_trials, "n_trials", low=1)
    callback = _check_callback(callback)
    random = _validation.check_random_state(random_state)
    lowest, history, status = np.inf, [], DONE
    for trial in range(n_trials):
        x = best
        if trial:
            step = step_size * random.standard_normal(best.shape)
            x = (best + step if is_local else step).astype(best.dtype, copy=False)
        value = _validation.as_number(loss(x), "loss")
        # The start is the best there is, whatever its loss, until another has a lower one.
        if value < lowest:
            best, lowest = x, value
        history.append(lowest)
        if _stops(callback, best, lowest):
            status = STOPPED
            break
    return _result(best, lowest, history, len(history), status)


# ---- descent -------------------------------------------------------------------------------------


def gradient_descent(
    loss: Callable[..., Any],
    x0: ArrayLike,
    *,
    step_size: float | Callable[[int], float],
    max_iter: int = 100,
    gradient: Literal[True] | Callable[..., Any] | None = True,
    momentum: float = 0.0,
    nesterov: bool = False,
    tol: float = 0.0,
    callback: Callable[..., object] | None = None,
) -> OptimizeResult:
    """Descend against the gradient.

    velocity = momentum * velocity - step_size * gradient(x); x += velocity, or with Nesterov's
    momentum x += momentum * velocity - step_size * gradient(x).

    Parameters
    ----------
    loss : callable
        Takes an array of the shape of `x0`. Returns the loss and its gradient, or with another
        `gradient` the loss alone.
    x0 : array-like of any shape
        float32 stays float32, others become float64.
    step_size : float or callable
        A callable is given the number of the step, from 0, and returns its size.
    max_iter : int, default=100
        Steps.
    gradient : True, callable or None, default=True
        True: `loss` returns it too. A callable takes x and returns it. None: central differences,
        which cost two losses for each number in `x0`.
    momentum : float, default=0.0
        In [0, 1).
    nesterov : bool, default=False
    tol : float, default=0.0
        Ends the descent where no derivative is larger in magnitude.
    callback : callable, optional
        Called before each step as ``callback(intermediate_result=...)``, with `x`, `fun` and
        `jac`, the gradient. StopIteration ends the descent.

    Returns
    -------
    OptimizeResult
        The last `x`, its loss `fun` and gradient `jac`; `history`, ndarray of shape (nit + 1,), the
        loss at `x0` and after each step; `nit`, `nfev`, `success`, `status` and `message`.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, a gradient of another shape, and a loss
        that is not finite at `x0`.

    Warns
    -----
    ConvergenceWarning
        If the loss or the gradient is not finite after some step; the result is the point before.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.optimize import gradient_descent
    >>> def loss(x):
    ...     return np.sum((x - 1) ** 2), 2 * (x - 1)
    >>> result = gradient_descent(loss, np.zeros(2), step_size=0.25, max_iter=3)
    >>> result.x, result.history
    (array([0.875, 0.875]), array([2.     , 0.5    , 0.125  , 0.03125]))
    """
    evaluate = _with_gradient(loss, gradient)
    x = _check_start(x0)
    moves = _MomentumUpdater(x, step_size, momentum, nesterov)
    max_iter = _validation.check_integer(max_iter, "max_iter", low=1)
    tol = _validation.check_number(tol, "tol", low=0)
    callback = _check_callback(callback)
    value, slope = evaluate(x)
    if not _all_finite(value, slope):
        raise ValueError("loss must be finite at x0, with a finite gradient, got one that is not")
    history, status, n_calls = [value], DONE, 1
    while len(history) <= max_iter:
        if np.abs(slope).max() <= tol:
            status = CONVERGED
            break
        if _stops(callback, x, value, jac=slope):
            status = STOPPED
            break
        with np.errstate(over="ignore", invalid="ignore"):
            x_next = moves.step(x, slope)
            value_next, slope_next = evaluate(x_next)
        n_calls += 1
        if not _all_finite(x_next, value_next, slope_next):
            status = DIVERGED
            _warn_of_divergence(f"step {len(history)}", moves)
            break
        x, value, slope = x_next, value_next, slope_next
        history.append(value)
    return _result(x, value, history, len(history) - 1, status, nfev=n_calls, jac=slope)


def sgd(
    loss: Callable[..., Any],
    x0: ArrayLike,
    n_samples: int,
    *,
    step_size: float | Callable[[int], float],
    batch_size: int = 256,
    max_iter: int = 10,
    momentum: float = 0.0,
    nesterov: bool = False,
    shuffle: bool = True,
    random_state: int | RandomState | Generator | None = None,
    callback: Callable[..., object] | None = None,
) -> OptimizeResult:
    """Descend against the gradient of one mini-batch of samples after the other.

    Parameters
    ----------
    loss : callable
        Takes an array of the shape of `x0` and the batch's samples, an int64 array of indices below
        `n_samples`; returns the batch's mean loss and its gradient.
    x0 : array-like of any shape
        float32 stays float32, others become float64.
    n_samples : int
    step_size : float or callable
        A callable is given the number of the step, from 0, and returns its size.
    batch_size : int, default=256
        The last batch of an epoch may be smaller; more than `n_samples` means all of them.
    max_iter : int, default=10
        Epochs.
    momentum : float, default=0.0
        In [0, 1).
    nesterov : bool, default=False
    shuffle : bool, default=True
        Whether each epoch takes the samples in a new order.
    random_state : int, RandomState, Generator or None, default=None
        Of the order.
    callback : callable, optional
        Called after each epoch as ``callback(intermediate_result=...)``, with `x` and `fun`.
        StopIteration ends the descent.

    Returns
    -------
    OptimizeResult
        The last `x`; `fun`, the last epoch's mean loss; `history`, ndarray of shape (nit,), that of
        each epoch, over its batches while x moves; `nit`, the epochs; `nfev`, the batches;
        `success`, `status` and `message`.

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, and a gradient of another shape.

    Warns
    -----
    ConvergenceWarning
        If a loss or a gradient is not finite; the result is the last point that was.

    Examples
    --------
    The mean of some numbers is where the mean of squares is smallest:

    >>> import numpy as np
    >>> from fastnn.optimize import sgd
    >>> data = np.arange(8.0)
    >>> def loss(x, batch):
    ...     return np.mean((x - data[batch]) ** 2), np.atleast_1d(2 * np.mean(x - data[batch]))
    >>> sgd(loss, [0.0], 8, step_size=0.05, batch_size=4, max_iter=50, random_state=0).x.round(1)
    array([3.5])
    """
    _validation.check_callable(loss, "loss")
    x = _check_start(x0)
    n_samples = _validation.check_integer(n_samples, "n_samples", low=1)
    moves = _MomentumUpdater(x, step_size, momentum, nesterov)
    batch_size = min(_validation.check_integer(batch_size, "batch_size", low=1), n_samples)
    max_iter = _validation.check_integer(max_iter, "max_iter", low=1)
    callback = _check_callback(callback)
    random = _validation.check_random_state(random_state)
    history, status, n_batches = [], DONE, 0
    for epoch in range(max_iter):
        order = random.permutation(n_samples) if shuffle else np.arange(n_samples)
        total = 0.0
        for start in range(0, n_samples, batch_size):
            batch = order[start : start + batch_size].astype(np.int64, copy=False)
            with np.errstate(over="ignore", invalid="ignore"):
                value, slope = _unpack(loss(x, batch), x)
                x_next = moves.step(x, slope) if _all_finite(value, slope) else None
            n_batches += 1
            if x_next is None or not _all_finite(x_next):
                status = DIVERGED
                _warn_of_divergence(f"batch {n_batches}, in epoch {epoch + 1}", moves)
                break
            x = x_next
            total += value * len(batch)
        if status == DIVERGED:
            break
        history.append(total / n_samples)
        if _stops(callback, x, history[-1]):
            status = STOPPED
            break
    fun = history[-1] if history else np.nan
    return _result(x, fun, history, len(history), status, nfev=n_batches)


class _MomentumUpdater:
    """Turns gradients into steps: the step size of each, and the momentum."""

    def __init__(self, x, step_size, momentum, nesterov):
        if not callable(step_size):
            step_size = _validation.check_positive(step_size, "step_size")
        momentum = _validation.check_number(momentum, "momentum", low=0)
        if momentum >= 1:
            raise ValueError(f"momentum must be below 1, got {momentum}")
        self.step_size, self.momentum, self.nesterov = step_size, momentum, nesterov
        self.velocity = np.zeros_like(x)
        self.n_steps, self.rate = 0, None

    def step(self, x, gradient):
        """Return the next x; the old one stays as it is."""
        self.rate = self.step_size
        if callable(self.step_size):
            self.rate = _validation.check_positive(self.step_size(self.n_steps), "step_size")
        self.n_steps += 1
        downhill = x.dtype.type(-self.rate) * gradient
        self.velocity = x.dtype.type(self.momentum) * self.velocity + downhill
        if self.nesterov:
            return x + (x.dtype.type(self.momentum) * self.velocity + downhill)
        return x + self.velocity


# ---- what they share -----------------------------------------------------------------------------


def _check_start(x0):
    """Return a copy, of float32 or float64, that nobody else holds."""
    x = np.array(_validation.check_floats(x0, "x0"))
    if not x.size or not np.isfinite(x).all():
        raise ValueError(f"x0 must hold finite numbers and not be empty, got {x}")
    return x


def _check_callback(callback):
    if callback is not None:
        _validation.check_callable(callback, "callback")
        try:
            inspect.signature(callback).bind(intermediate_result=None)
        except TypeError:
            raise TypeError(
                "callback must be callable as callback(intermediate_result=...), as in SciPy, got "
                f"one with the signature {inspect.signature(callback)}"
            ) from None
        except ValueError:  # no signature to look at
            pass
    return callback


def _with_gradient(loss, gradient):
    """Return a function of x that returns the loss and the gradient."""
    _validation.check_callable(loss, "loss")
    if gradient is True:
        return lambda x: _unpack(loss(x), x)
    if gradient is None:
        gradient = lambda x: numerical_gradient(loss, x)  # noqa: E731
    _validation.check_callable(gradient, "gradient")
    return lambda x: _unpack((loss(x), gradient(x)), x)


def _unpack(returned, x):
    if not (isinstance(returned, tuple) and len(returned) == 2):
        raise TypeError(
            f"loss must return a tuple (loss, gradient), got {type(returned).__name__}; for a loss "
            "without a gradient see the argument `gradient` of gradient_descent"
        )
    value, slope = returned
    # A copy: losses may use one buffer for all their gradients.
    slope = np.array(_validation.check_floats(slope, "gradient"), x.dtype)
    if slope.shape != x.shape:
        raise ValueError(f"gradient must have the shape of x0, {x.shape}, got {slope.shape}")
    return _validation.as_number(value, "loss"), slope


def _all_finite(*arrays):
    return all(np.isfinite(array).all() for array in arrays)


def _stops(callback, x, value, **more):
    if callback is None:
        return False
    try:
        callback(intermediate_result=OptimizeResult(x=x, fun=value, **more))
    except StopIteration:
        return True
    return False


def _warn_of_divergence(when, moves):
    advice = (
        "The start may be at fault" if moves.rate is None else f"Lower step_size, now {moves.rate}"
    )
    warnings.warn(
        f"The loss was not finite after {when}: the result is the point before. {advice}",
        ConvergenceWarning,
        stacklevel=3,
    )


def _result(x, value, history, nit, status, **more):
    more = {"nfev": nit} | more
    return OptimizeResult(
        x=x,
        fun=value,
        history=np.array(history),
        nit=nit,
        status=status,
        success=status in (DONE, CONVERGED) and np.isfinite(value),
        message=MESSAGES[status],
        **more,
    )
