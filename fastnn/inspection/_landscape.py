"""The landscape of a loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from .. import _validation, losses
from ._plotting import check_values, import_pyplot

N_LEVELS = 13


class LossLandscapeDisplay:
    """Loss around some weights W: L(W + a W₁) on a line, or L(W + a W₁ + b W₂) on a plane.

    Make it with `from_estimator` or `from_loss`.

    Parameters
    ----------
    distances : array-like of shape (n_points,), ascending
        The values of a, and of b.
    losses : array-like of shape (n_points,) or (n_points, n_points)
        ``losses[i]`` is for a = distances[i], ``losses[i, j]`` for a = distances[i] and
        b = distances[j]. What is not finite is left blank.
    center_loss : float, optional
        L(W). None: the plane shows no value beside W, the line does not mark it.
    directions : sequence of arrays, optional
        W₁, or W₁ and W₂; only kept.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The losses on a line.
    surface_ : matplotlib QuadContourSet
        The losses on a plane.
    colorbar_ : matplotlib Colorbar
        Of the plane.
    center_ : matplotlib Line2D, or None
        The point W.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    See Also
    --------
    fastnn.losses.losses_on_plane : The values alone, for any directions and points.

    Notes
    -----
    Random directions are drawn from a standard normal distribution and scaled to the norm of W, so
    that a = 1 is as far from W as 0 is; where W is 0, to norm 1. The second is made orthogonal to
    the first.

    Examples
    --------
    >>> from fastnn.inspection import LossLandscapeDisplay
    >>> display = LossLandscapeDisplay(distances=[-1, 0, 1], losses=[1.0, 0.0, 1.0], center_loss=0)
    >>> display.plot().line_.get_ydata()
    array([1., 0., 1.])
    """

    def __init__(
        self,
        *,
        distances: ArrayLike,
        losses: Any,
        center_loss: float | None = None,
        directions: Sequence[ArrayLike] | None = None,
    ) -> None:
        self.distances = check_values(distances, "distances", (1,))
        self.losses = check_values(losses, "losses", (1, 2))
        n = len(self.distances)
        if n < 2 or not (np.diff(self.distances) > 0).all():
            raise ValueError(f"distances must be at least 2 numbers that ascend, got {distances}")
        if set(self.losses.shape) != {n}:
            raise ValueError(
                f"losses must have shape ({n},) or ({n}, {n}), as there are {n} distances, got "
                f"{self.losses.shape}"
            )
        if not np.isfinite(self.losses).any():
            raise ValueError("losses must hold some finite numbers, got none")
        self.center_loss = center_loss
        self.directions = directions

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the line, or the plane as filled contours.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: a new figure.
        **kwargs : dict
            For `Axes.plot`, or `Axes.contourf`. By default the levels of the contours are quantiles
            of the losses, so that they are even in space however fast the loss grows.

        Returns
        -------
        self : LossLandscapeDisplay
        """
        plt = import_pyplot(f"{type(self).__name__}.plot")
        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        if self.losses.ndim == 1:
            self._plot_line(ax, kwargs)
        else:
            self._plot_plane(ax, kwargs)
        if self.center_ is not None:
            ax.legend()
        return self

    def _plot_line(self, ax, kwargs):
        (self.line_,) = ax.plot(self.distances, self.losses, **kwargs)
        self.center_ = None
        if self.center_loss is not None:
            color = self.line_.get_color()
            self._mark_center(ax, self.center_loss, markerfacecolor=color, markeredgecolor=color)
        ax.set(xlabel="a: distance from W, in units of W₁", ylabel="Loss L(W + a W₁)")

    def _plot_plane(self, ax, kwargs):
        # contourf wants rows of equal y.
        values = np.ma.masked_invalid(self.losses.T)
        self.surface_ = ax.contourf(
            self.distances, self.distances, values, **_contour_options(values, kwargs)
        )
        self._mark_center(ax, 0.0, markerfacecolor="white", markeredgecolor="black")
        self.colorbar_ = ax.figure.colorbar(
            self.surface_, ax=ax, format="%.8g", label="Loss L(W + a W₁ + b W₂)"
        )
        ax.set(
            aspect="equal",
            xlabel="a: distance from W, in units of W₁",
            ylabel="b: distance from W, in units of W₂",
        )
        ax.locator_params(nbins=6)

    def _mark_center(self, ax, height, **colors):
        value = "" if self.center_loss is None else f": loss {self.center_loss:.5g}"
        (self.center_,) = ax.plot(
            [0.0], [height], linestyle="none", marker="o", label=f"W{value}", **colors
        )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_directions: Literal[1, 2] = 1,
        distance: float = 1.0,
        n_points: int = 41,
        random_state: int | RandomState | Generator | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the loss with the penalty around a classifier's weights, in random directions.

        All points come from one product of the weights and the data. A direction changes what `fit`
        does, each weight and each intercept; for uint8 data in the units that `fit` works in, those
        of the standardized features. For two classes it is one row of weights.

        Parameters
        ----------
        estimator : SVMClassifier or SoftmaxClassifier of `fastnn.linear_model`, fitted
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
            Rows and their classes that the loss is the mean of, with the estimator's class_weight.
        n_directions : {1, 2}, default=1
            1: a line. 2: a plane.
        distance : float, default=1.0
            How far a, and b, go to both sides of 0; 1 is the norm of W.
        n_points : int, default=41
            Per axis; an odd number includes 0.
        random_state : int, RandomState, Generator or None, default=None
            Of the directions.
        ax : matplotlib Axes, optional
            None: a new figure.
        **kwargs : dict
            As in `plot`.

        Returns
        -------
        LossLandscapeDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            If the estimator is not fitted.
        TypeError, ValueError
            For another kind of estimator, and arguments out of range.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from fastnn.inspection import LossLandscapeDisplay
        >>> from fastnn.linear_model import SoftmaxClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> model = SoftmaxClassifier(max_iter=20, tol=None, random_state=0).fit(X / 16, y)
        >>> display = LossLandscapeDisplay.from_estimator(
        ...     model, X / 16, y, n_directions=2, n_points=21, random_state=0
        ... )
        >>> display.losses.shape
        (21, 21)
        >>> bool(display.losses[10, 10] == display.center_loss)
        True
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        coefficients, distances = _make_grid(distance, n_points, n_directions)
        arguments = _loss_arguments_of(estimator, X, y)
        W, l2 = arguments["W"], arguments.pop("l2")

        def to_parameters(direction):
            return _to_parameters(direction, estimator, arguments["bias"])

        directions = _random_directions(W, n_directions, random_state, to_parameters)
        values = losses.losses_on_plane(
            **arguments, directions=directions, coefficients=coefficients
        )
        d = W.shape[1] - bool(arguments["bias"])
        weights = [matrix[:, :d] for matrix in (W, *directions)]  # intercepts are not penalized
        values = values + losses._penalties(weights, coefficients, l2)
        return cls._from_values(values, distances, directions).plot(ax, **kwargs)

    @classmethod
    def from_loss(
        cls,
        loss: Callable[..., Any],
        W: ArrayLike,
        *,
        directions: Any = None,
        n_directions: Literal[1, 2] = 1,
        distance: float = 1.0,
        n_points: int = 41,
        random_state: int | RandomState | Generator | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self:
        """Draw any function of an array around W, in given or in random directions.

        The function is called for one point after the other: for W itself and for `n_points`, or
        for `n_points` squared on a plane.

        Parameters
        ----------
        loss : callable
            Takes an array of the shape of `W` and returns a number.
        W : array-like of any shape
            float32 stays float32, others become float64.
        directions : sequence of 1 or 2 arrays of the shape of `W`, optional
            W₁, or W₁ and W₂, as they are. None: random ones.
        n_directions : {1, 2}, default=1
            How many random directions. Not used with `directions`.
        distance : float, default=1.0
            How far a, and b, go to both sides of 0.
        n_points : int, default=41
            Per axis; an odd number includes 0.
        random_state : int, RandomState, Generator or None, default=None
            Of random directions.
        ax : matplotlib Axes, optional
            None: a new figure.
        **kwargs : dict
            As in `plot`.

        Returns
        -------
        LossLandscapeDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        TypeError, ValueError
            For directions that do not fit, a loss that returns no number, and arguments out of
            range.

        Examples
        --------
        >>> import numpy as np
        >>> from fastnn.inspection import LossLandscapeDisplay
        >>> display = LossLandscapeDisplay.from_loss(
        ...     lambda w: np.sum(w**2), np.zeros(2), directions=[[3.0, 4.0]], n_points=5
        ... )
        >>> display.distances, display.losses
        (array([-1. , -0.5,  0. ,  0.5,  1. ]), array([25.  ,  6.25,  0.  ,  6.25, 25.  ]))
        """
        import_pyplot(f"{cls.__name__}.from_loss")
        _validation.check_callable(loss, "loss")
        W = _check_finite(W, "W")
        if directions is not None:
            directions = _check_directions(directions, W.shape)
            n_directions = len(directions)
        coefficients, distances = _make_grid(distance, n_points, n_directions)
        if directions is None:
            directions = _random_directions(W, n_directions, random_state)
        values = np.array([_evaluate(loss, W, directions, point) for point in coefficients])
        return cls._from_values(values, distances, directions).plot(ax, **kwargs)

    @classmethod
    def _from_values(cls, values, distances, directions):
        shape = (len(distances),) * len(directions)
        return cls(
            distances=distances,
            losses=values[1:].reshape(shape),
            center_loss=float(values[0]),
            directions=directions,
        )


def _make_grid(distance, n_points, n_directions):
    """Return the coefficients of W itself and of all points, and the distances along one axis."""
    n_directions = _validation.check_integer(n_directions, "n_directions")
    if n_directions not in (1, 2):
        raise ValueError(f"n_directions must be 1 or 2, got {n_directions}")
    n_points = _validation.check_integer(n_points, "n_points", low=2)
    distance = _validation.check_positive(distance, "distance")
    # Unlike linspace, this meets 0 in the middle.
    distances = distance * np.arange(1 - n_points, n_points, 2) / (n_points - 1)
    axes = np.meshgrid(*[distances] * n_directions, indexing="ij")
    points = np.stack(axes, axis=-1).reshape(-1, n_directions)
    return np.vstack([np.zeros((1, n_directions)), points]), distances


def _check_finite(values, name):
    array = _validation.check_floats(values, name)
    if not array.size or not np.isfinite(array).all():
        raise ValueError(f"{name} must hold finite numbers and not be empty, got {array}")
    return array


def _check_directions(directions, shape):
    checked = [_check_finite(direction, "directions") for direction in directions]
    if len(checked) not in (1, 2):
        raise ValueError(f"directions must be 1 or 2 arrays, got {len(checked)}")
    for direction in checked:
        if direction.shape != shape:
            raise ValueError(
                f"directions must have the shape of W, {shape}, got {direction.shape}; a single "
                "one goes into a list"
            )
    return checked


def _loss_arguments_of(estimator, X, y):
    if not hasattr(estimator, "_loss_arguments"):
        raise TypeError(
            "estimator must be an SVMClassifier or a SoftmaxClassifier of fastnn.linear_model, got "
            f"{type(estimator).__name__}; from_loss takes the loss of any model"
        )
    check_is_fitted(estimator)
    return estimator._loss_arguments(X, y)


def _to_parameters(direction, estimator, bias):
    """Project a direction on the weights that the estimator can have."""
    if len(direction) == 2:
        # Two classes have one row w, as (-w / 2, w / 2): what both rows share is no parameter.
        direction = direction - direction.mean(axis=0)
    if bias and not estimator.fit_intercept:
        direction[:, -1] = 0.0
    return direction


def _random_directions(W, n_directions, random_state, project=None):
    """Return orthogonal directions of the norm of W, evenly distributed over all or a part."""
    random_state = _validation.check_random_state(random_state)
    length = float(np.linalg.norm(W)) or 1.0
    directions = []
    for _ in range(n_directions):
        direction = random_state.standard_normal(W.shape)
        if project is not None:
            direction = project(direction)
        before = np.linalg.norm(direction)
        for other in directions:
            direction = direction - np.vdot(other, direction) / np.vdot(other, other) * other
        norm = np.linalg.norm(direction)
        if norm <= 1e-9 * before:
            raise ValueError("n_directions must be 1 where there is a single weight, got 2")
        directions.append(direction * (length / norm))
    return directions


def _evaluate(loss, W, directions, point):
    moved = W + sum(c * direction for c, direction in zip(point, directions, strict=True))
    return _validation.as_number(loss(moved.astype(W.dtype)), "loss")


def _contour_options(values, given):
    """Return arguments for contourf: those given, and defaults for what they leave open."""
    from matplotlib.colors import BoundaryNorm

    options = {"cmap": "viridis"}
    if not {"levels", "locator"} & set(given):
        options["levels"] = _contour_levels(values)
        options["norm"] = BoundaryNorm(options["levels"], 256)
    if {"colors", "vmin", "vmax"} & set(given):
        options.pop("norm", None)
    if "colors" in given:
        del options["cmap"]
    return options | given


def _contour_levels(values):
    """Return quantiles of the losses, with few digits.

    For a loss that depends on the distance alone, the share of the points below a contour goes with
    the square of its radius: squares of even shares make even contours, however the loss grows.
    """
    values = values.compressed()
    levels = np.unique(np.quantile(values, np.linspace(0, 1, N_LEVELS) ** 2))
    low, high = levels[0], levels[-1]
    if high - low <= 1e-9 * max(abs(low), abs(high)):  # flat
        margin = 0.5 * max(abs(low), 1.0)
        return np.array([low - margin, high + margin])
    if len(levels) < N_LEVELS // 2:  # few values, as of counts
        return np.linspace(low, high, 11)
    gaps = np.diff(levels)
    gaps = np.minimum(np.append(gaps, np.inf), np.append(np.inf, gaps))
    digits = np.ceil(-np.log10(gaps)).astype(int)
    rounded = [round(float(level), n) for level, n in zip(levels, digits.tolist(), strict=True)]
    rounded[0] = math.floor(low * 10.0 ** digits[0]) / 10.0 ** digits[0]
    rounded[-1] = math.ceil(high * 10.0 ** digits[-1]) / 10.0 ** digits[-1]
    return np.unique([min(rounded[0], low), *rounded[1:-1], max(rounded[-1], high)])
