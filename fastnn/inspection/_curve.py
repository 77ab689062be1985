"""The course of training."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from ._plotting import check_attributes, check_values, import_pyplot

# What one step of a solver's loss curve is, where it is not an epoch.
STEPS = {"lbfgs": "Iteration", "random_search": "Trial", "random_local_search": "Trial"}


class LossCurveDisplay:
    """Training loss of each epoch and, on an axis of its own, the accuracy on rows set aside.

    Parameters
    ----------
    losses : array-like of shape (n_steps,)
    validation_scores : array-like of shape (n_scores,), n_scores <= n_steps, optional
        Those of the last steps, where they are fewer: a warm start goes on with the losses only.
    step : str, default="Epoch"
        What a step is called.

    Attributes
    ----------
    line_ : matplotlib Line2D
        The losses.
    validation_line_ : matplotlib Line2D, or None
    ax_ : matplotlib Axes
    validation_ax_ : matplotlib Axes, or None
        The twin of `ax_` with the scores.
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from fastnn.inspection import LossCurveDisplay
    >>> display = LossCurveDisplay(losses=[2.3, 1.9, 1.8], validation_scores=[0.2, 0.3, 0.4])
    >>> display.plot().line_.get_xdata()
    array([1, 2, 3])
    """

    def __init__(
        self, *, losses: ArrayLike, validation_scores: ArrayLike | None = None, step: str = "Epoch"
    ) -> None:
        self.losses = check_values(losses, "losses", (1,))
        self.validation_scores = None
        if validation_scores is not None:
            self.validation_scores = check_values(validation_scores, "validation_scores", (1,))
            if len(self.validation_scores) > len(self.losses):
                raise ValueError(
                    f"validation_scores must be at most as many as the losses, {len(self.losses)}, "
                    f"got {len(self.validation_scores)}"
                )
        self.step = step

    def plot(
        self, ax: Any = None, *, validation_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: a new figure.
        validation_kwargs : dict, optional
            For `Axes.plot` of the scores.
        **kwargs : dict
            For `Axes.plot` of the losses.

        Returns
        -------
        self : LossCurveDisplay
        """
        plt = import_pyplot(f"{type(self).__name__}.plot")
        from matplotlib.ticker import MaxNLocator

        makes_figure = ax is None
        if makes_figure:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        steps = np.arange(1, len(self.losses) + 1)
        self.line_ = _plot_curve(ax, steps, self.losses, label="Training loss", **kwargs)
        ax.set(xlabel=self.step, ylabel="Training loss")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        self.validation_ax_ = self.validation_line_ = None
        if self.validation_scores is not None:
            self._plot_scores(ax.twinx(), steps, validation_kwargs or {})
            handles = [self.line_, self.validation_line_]
            if makes_figure:
                self.figure_.legend(handles=handles, loc="outside upper center", ncols=2)
            else:
                # The twin is drawn last.
                self.validation_ax_.legend(handles=handles, loc=_emptiest_place(handles))
        return self

    def _plot_scores(self, ax, steps, kwargs):
        options = {"color": "C1", "label": "Validation accuracy"} | kwargs
        steps = steps[-len(self.validation_scores) :]
        self.validation_ax_ = ax
        self.validation_line_ = _plot_curve(ax, steps, self.validation_scores, **options)
        ax.set_ylabel("Validation accuracy")

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        validation_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self:
        """Draw the loss curve of a fitted estimator.

        Parameters
        ----------
        estimator : object
            Fitted, with `loss_curve_` and maybe `validation_scores_`: a classifier of
            `fastnn.linear_model` or, for example, scikit-learn's MLPClassifier.
        ax : matplotlib Axes, optional
            None: a new figure.
        validation_kwargs, **kwargs : dict
            As in `plot`.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no `loss_curve_`.
        ValueError
            If its `loss_curve_` is empty.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from fastnn.inspection import LossCurveDisplay
        >>> from fastnn.linear_model import SVMClassifier
        >>> X, y = load_digits(return_X_y=True)
        >>> model = SVMClassifier(max_iter=15, tol=None, early_stopping=True, random_state=0)
        >>> display = LossCurveDisplay.from_estimator(model.fit(X / 16, y))
        >>> display.losses.shape, display.validation_scores.shape
        ((15,), (15,))
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_attributes(estimator, "an estimator with the loss of each epoch", "loss_curve_")
        if len(estimator.loss_curve_) == 0:
            raise ValueError("estimator must have done an epoch that ended well: no loss_curve_")
        display = cls(
            losses=estimator.loss_curve_,
            validation_scores=getattr(estimator, "validation_scores_", None),
            step=STEPS.get(getattr(estimator, "solver", None), "Epoch"),
        )
        return display.plot(ax, validation_kwargs=validation_kwargs, **kwargs)


def _plot_curve(ax, steps, values, **options):
    # A single point makes no line.
    options = ({"marker": "o"} if len(steps) == 1 else {}) | options
    (line,) = ax.plot(steps, values, **options)
    return line


def _emptiest_place(lines):
    """Return where a legend hides least of lines: loc="best" sees one of twin axes only."""
    points = np.vstack([_points_along(line) for line in lines])
    # By preference; losses fall and scores rise. A legend is about half as wide as the axes.
    places = {
        f"{vertical} {horizontal}": (left, bottom)
        for horizontal, left in (("right", 0.5), ("left", 0.0))
        for vertical, bottom in (("center", 0.375), ("upper", 0.75), ("lower", 0.0))
    }

    def n_hidden(place):
        offsets = points - places[place]
        return ((offsets >= 0) & (offsets <= (0.5, 0.25))).all(axis=1).sum()

    return min(places, key=n_hidden)


def _points_along(line):
    """Return points that are even along a line as it is drawn, as shares of the axes."""
    line.axes.autoscale_view()  # otherwise it waits until drawing
    corners = (line.get_transform() - line.axes.transAxes).transform(line.get_xydata())
    corners = corners[np.isfinite(corners).all(axis=1)]
    if not len(corners):
        return corners
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    at = np.append(0.0, np.cumsum(lengths))
    even = np.linspace(0, at[-1], 200)
    return np.column_stack([np.interp(even, at, coordinate) for coordinate in corners.T])
