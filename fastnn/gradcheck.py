"""Numerical gradients of any scalar function, and a check of analytic gradients against them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike, NDArray

from . import _validation
from ._core._threads import effective_n_threads

__all__ = ["GradientReport", "check_gradient", "numerical_gradient"]

SCHEMES = ("central", "forward")
# What rounding may do to a difference of two values of f: so many units in the last place.
ROUNDING = 16
# Where a derivative looks wrong, differences over these parts of the step tell a kink from an
# error: see `check_gradient`.
SHORTER = (1 / 8, 1 / 64)
# A report's table shows so many coordinates.
ROWS_SHOWN = 10


def numerical_gradient(
    f: Callable[..., Any],
    x: ArrayLike,
    h: float = 1e-5,
    scheme: Literal["central", "forward"] = "central",
    *,
    n_jobs: int | None = 1,
) -> NDArray[np.float64]:
    """Gradient of a scalar function by finite differences, in float64.

    Central: (f(x + h) - f(x - h)) / 2h, with an error of the order of h². Forward:
    (f(x + h) - f(x)) / h, with half of the evaluations and an error of the order of h.

    Parameters
    ----------
    f : callable
        Takes a float64 array of the shape of `x`, which it must not change or keep, and returns a
        number, or a tuple that starts with one.
    x : array-like of any shape
    h : float, default=1e-5
        The step, the same for each coordinate.
    scheme : {"central", "forward"}, default="central"
    n_jobs : int or None, default=1
        Threads that share the coordinates; None: all the cores that this process may use. More than
        one pays where `f` releases the GIL, as NumPy and this package do, and needs an `f` that can
        run in several threads at once. The result does not depend on it.

    Returns
    -------
    ndarray of the shape of `x`, float64

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range, and an `f` that returns no number.

    Notes
    -----
    The step is divided by as it is after rounding, (x + h) - (x - h), and not by 2h [1]_.

    References
    ----------
    .. [1] W. H. Press et al., "Numerical Recipes", 3rd ed., section 5.7.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.gradcheck import numerical_gradient
    >>> numerical_gradient(lambda x: np.sum(x**3), [1.0, 2.0]).round(6)
    array([ 3., 12.])
    """
    f = _scalar(f)
    x = _check_point(x)
    h = _validation.check_positive(h, "h")
    scheme = _validation.check_name(scheme, SCHEMES, "scheme")
    at_x = f(x) if scheme == "forward" else None
    _check_step(x, np.arange(x.size), h)

    def slope(point, i):
        after, x_after = _moved(f, point, i, h)
        before, x_before = (at_x, point.flat[i]) if scheme == "forward" else _moved(f, point, i, -h)
        return (after - before) / (x_after - x_before)

    return _for_coordinates(slope, x, np.arange(x.size), n_jobs).reshape(x.shape)


def check_gradient(
    f: Callable[..., Any],
    x: ArrayLike,
    gradient: Callable[..., Any] | ArrayLike | None = None,
    *,
    n_checks: int | None = None,
    h: float = 1e-5,
    rtol: float = 1e-6,
    atol: float | None = None,
    random_state: int | RandomState | Generator | None = None,
    n_jobs: int | None = 1,
    raise_on_error: bool = True,
) -> GradientReport:
    """Compare an analytic gradient with central differences, coordinate by coordinate.

    The relative error is ``|analytic - numerical| / max(|analytic|, |numerical|)``.

    Where it is too large, f may have a kink (a hinge, a rectifier, a maximum) in reach of the step,
    so that no derivative exists or the difference mixes two of them. Differences over shorter steps
    tell: either they agree with the analytic derivative, since the kink is out of their reach; or
    the slopes to the left and to the right stay apart as the step shrinks, where a smooth function
    would bring them together, and the analytic derivative is between them, a subgradient. Such
    coordinates are reported as kinks and do not fail; so are bends that are as sharp as the step is
    long. Where rounding hides what shorter steps would tell, the derivative counts as wrong.

    Parameters
    ----------
    f : callable
        Takes a float64 array of the shape of `x`, which it must not change or keep. Returns a tuple
        (value, gradient), or with `gradient` the value alone.
    x : array-like of any shape
    gradient : callable or array-like of the shape of `x`, optional
        The analytic gradient, as a function of x or at `x`.
    n_checks : int, optional
        How many coordinates are checked, drawn at random; None or more than there are: all.
    h : float, default=1e-5
        The step. Of a function that computes in float32, some 1e-2, with an `rtol` of some 1e-3.
    rtol : float, default=1e-6
        The largest relative error that passes.
    atol : float, optional
        A difference that passes whatever its relative error. None: what rounding may do to the
        numerical derivative, ``16 * 2**-53 * (|f(x + h)| + |f(x - h)|) / 2h``.
    random_state : int, RandomState, Generator or None, default=None
        Of the coordinates.
    n_jobs : int or None, default=1
        As in `numerical_gradient`.
    raise_on_error : bool, default=True
        Whether a wrong derivative raises; else the report alone tells.

    Returns
    -------
    GradientReport

    Raises
    ------
    AssertionError
        If a derivative is wrong: the report, worst coordinates first.
    TypeError, ValueError
        For arguments of the wrong kind or out of range, and gradients of another shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.gradcheck import check_gradient
    >>> report = check_gradient(lambda x: (np.sum(x**2), 2 * x), np.array([1.0, -3.0]))
    >>> report.passed, report.max_relative_error < 1e-9
    (True, True)

    The rectifier at 0: any slope from 0 to 1 is a subgradient.

    >>> check_gradient(lambda x: (np.maximum(x, 0).sum(), np.zeros(1)), [0.0]).kinks
    array([ True])
    """
    x = _check_point(x)
    analytic = _analytic_gradient(f, x, gradient)
    f = _scalar(f)
    h = _validation.check_positive(h, "h")
    rtol = _validation.check_number(rtol, "rtol", low=0)
    if atol is not None:
        atol = _validation.check_number(atol, "atol", low=0)
    coordinates = _choose_coordinates(x.size, n_checks, random_state)
    _check_step(x, coordinates, h * min(SHORTER))
    at_x = f(x)

    def judge(point, i):
        return _judge(f, point, i, at_x, analytic.flat[i], h, rtol, atol)

    numerical, relative_errors, wrong, kinks = _for_coordinates(judge, x, coordinates, n_jobs).T
    report = GradientReport(
        coordinates=np.unravel_index(coordinates, x.shape),
        analytic=analytic.ravel()[coordinates],
        numerical=numerical,
        relative_errors=relative_errors,
        wrong=wrong.astype(bool),
        kinks=kinks.astype(bool),
        rtol=rtol,
    )
    if raise_on_error and not report.passed:
        raise AssertionError(str(report))
    return report


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradient` has found; its string is a table, worst coordinates first.

    Attributes
    ----------
    coordinates : tuple of ndarrays of shape (n_checks,), one for each axis of x
        Which coordinates were checked, so that ``x[report.coordinates]`` are their values.
    analytic, numerical : ndarray of shape (n_checks,)
        The derivatives.
    relative_errors : ndarray of shape (n_checks,)
    wrong : ndarray of shape (n_checks,), bool
        Where the analytic derivative is wrong.
    kinks : ndarray of shape (n_checks,), bool
        Where the two differ because of a kink.
    rtol : float

    Examples
    --------
    >>> import numpy as np
    >>> from fastnn.gradcheck import check_gradient
    >>> report = check_gradient(
    ...     lambda x: (np.sum(x**2), 2.002 * x), np.array([1.0, -3.0]), raise_on_error=False
    ... )
    >>> report.passed
    False
    >>> print(report)
    2 of 2 derivatives are wrong (relative error > 1e-06)
        coordinate      analytic     numerical  relative error
              (1,)        -6.006            -6        0.000999  wrong
              (0,)         2.002             2        0.000999  wrong
    """

    coordinates: tuple[NDArray[np.int64], ...]
    analytic: NDArray[np.float64]
    numerical: NDArray[np.float64]
    relative_errors: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    kinks: NDArray[np.bool_]
    rtol: float

    @property
    def passed(self) -> bool:
        """Whether no derivative is wrong."""
        return not self.wrong.any()

    @property
    def max_relative_error(self) -> float:
        """The largest relative error where there is no kink; 0.0 if there are kinks alone."""
        return float(self.relative_errors[~self.kinks].max(initial=0.0))

    def __str__(self):
        n, n_wrong, n_kinks = self.wrong.size, self.wrong.sum(), self.kinks.sum()
        lines = [f"{n_wrong} of {n} derivatives are wrong (relative error > {self.rtol:g})"]
        if n_kinks:
            lines[0] += f", {n_kinks} are at kinks"
        lines.append(f"{'coordinate':>14}{'analytic':>14}{'numerical':>14}{'relative error':>16}")
        worst = np.lexsort((-self.relative_errors, ~self.kinks, ~self.wrong))
        for k in worst[:ROWS_SHOWN]:
            coordinate = str(tuple(int(axis[k]) for axis in self.coordinates))
            verdict = "  wrong" if self.wrong[k] else "  kink" if self.kinks[k] else ""
            lines.append(
                f"{coordinate:>14}{self.analytic[k]:>14.7g}{self.numerical[k]:>14.7g}"
                f"{self.relative_errors[k]:>16.3g}{verdict}"
            )
        if n > ROWS_SHOWN:
            lines.append(f"{'... ' + str(n - ROWS_SHOWN) + ' more':>14}")
        return "\n".join(lines)


# ---- one coordinate ------------------------------------------------------------------------------


def _moved(f, point, i, step):
    """Return f with coordinate i moved by a step, and where that is after rounding."""
    before = point.flat[i]
    point.flat[i] = before + step
    try:
        return f(point), point.flat[i]
    finally:
        point.flat[i] = before


def _slopes(f, point, i, at_x, h):
    """Return the central, right and left differences, and what rounding may do to them."""
    after, x_after = _moved(f, point, i, h)
    before, x_before = _moved(f, point, i, -h)
    x = point.flat[i]
    central = (after - before) / (x_after - x_before)
    right, left = (after - at_x) / (x_after - x), (at_x - before) / (x - x_before)
    noise = ROUNDING * 2.0**-53 * (abs(after) + abs(before)) / (x_after - x_before)
    return central, right, left, noise


def _judge(f, point, i, at_x, analytic, h, rtol, atol):
    """Return (numerical derivative, relative error, is wrong, is a kink) of one coordinate."""
    numerical, right, left, noise = _slopes(f, point, i, at_x, h)
    with np.errstate(invalid="ignore"):
        error = abs(analytic - numerical)
    if not np.isfinite(error):
        return numerical, np.inf, True, False
    size = max(abs(analytic), abs(numerical))
    relative = error / size if size > 0 else 0.0
    if error <= max(rtol * size, noise if atol is None else atol):
        return numerical, relative, False, False
    apart = abs(right - left)
    for part in SHORTER:
        shorter, right, left, shorter_noise = _slopes(f, point, i, at_x, h * part)
        tolerance = max(rtol * size, shorter_noise if atol is None else max(atol, shorter_noise))
        # Where rounding alone could close the gap, an agreement would tell nothing.
        is_out_of_reach = abs(analytic - shorter) <= tolerance and shorter_noise <= 0.25 * error
        low, high = min(left, right) - tolerance, max(left, right) + tolerance
        # Of a smooth function the slopes would be `part` as far apart.
        stays = abs(right - left) > 0.5 * apart + 4.0 * shorter_noise
        if is_out_of_reach or (stays and low <= analytic <= high):
            return numerical, relative, False, True
    return numerical, relative, True, False


def _for_coordinates(function, x, coordinates, n_jobs):
    """Return function(a copy of x, i) for each coordinate i, as an array, from several threads."""
    n_threads = min(effective_n_threads(n_jobs), max(1, len(coordinates)))
    if n_threads == 1:
        point = x.copy()
        return np.array([function(point, i) for i in coordinates])

    def run(part):
        point = x.copy()
        return [function(point, i) for i in part]

    with ThreadPoolExecutor(n_threads) as pool:
        parts = pool.map(run, np.array_split(coordinates, n_threads))
        return np.array([value for part in parts for value in part])


# ---- arguments -----------------------------------------------------------------------------------


def _check_point(x):
    x = np.array(_validation.check_floats(x, "x"), np.float64, order="C")
    if not x.size or not np.isfinite(x).all():
        raise ValueError(f"x must hold finite numbers and not be empty, got {x}")
    return x


def _check_step(x, coordinates, h):
    """Refuse a step that a coordinate is too large to notice."""
    values = x.flat[coordinates]
    lost = (values + h == values) | (values - h == values)
    if lost.any():
        raise ValueError(
            f"h must be large enough to change each x, got a step of {h:g} for "
            f"x = {values[lost.argmax()]}"
        )


def _scalar(f):
    _validation.check_callable(f, "f")

    def value(x):
        returned = f(x)
        return _validation.as_number(returned[0] if isinstance(returned, tuple) else returned, "f")

    return value


def _analytic_gradient(f, x, gradient):
    _validation.check_callable(f, "f")
    if gradient is None:
        returned = f(x.copy())
        if not (isinstance(returned, tuple) and len(returned) == 2):
            raise TypeError(
                "f must return a tuple (value, gradient), or the argument gradient be given, got "
                f"{type(returned).__name__}"
            )
        gradient = returned[1]
    elif callable(gradient):
        gradient = gradient(x.copy())
    gradient = np.array(_validation.check_floats(gradient, "gradient"), np.float64)
    if gradient.shape != x.shape:
        raise ValueError(f"gradient must have the shape of x, {x.shape}, got {gradient.shape}")
    return gradient


def _choose_coordinates(size, n_checks, random_state):
    if n_checks is None:
        return np.arange(size)
    n_checks = _validation.check_integer(n_checks, "n_checks", low=1)
    if n_checks >= size:
        return np.arange(size)
    random = _validation.check_random_state(random_state)
    return np.sort(random.choice(size, n_checks, replace=False))
