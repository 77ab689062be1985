"""The choice of k."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from ._plotting import check_values, import_pyplot

# More splits than this are drawn as their mean alone: those of leave-one-out are single samples.
MOST_SPLITS = 20


class KSelectionDisplay:
    """Score against the number of neighbors: mean and spread over the splits, and each split.

    There is a curve for each combination of the other parameters, such as metric and weights. Make
    it with `from_estimator`.

    Parameters
    ----------
    n_neighbors : array-like of shape (n_numbers,), ascending
    scores : dict of str to array-like of shape (n_numbers, n_splits)
        The curves, by their names.
    score_name : str, default="Score"
    best : tuple (name of a curve, number of neighbors), optional
        What is marked as the best. None: the highest mean, of equal ones the first.

    Attributes
    ----------
    lines_ : dict of str to matplotlib Line2D
        The means.
    best_ : matplotlib Line2D, or None where no mean is finite
        The mark of the best.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from fastnn.inspection import KSelectionDisplay
    >>> display = KSelectionDisplay(
    ...     n_neighbors=[1, 3],
    ...     scores={"l1": [[0.8, 0.9], [0.9, 0.9]], "l2": [[0.7, 0.8], [0.8, 0.6]]},
    ... )
    >>> display.plot().best_.get_label()
    'best: l1, k = 3, 0.9'
    """

    def __init__(
        self,
        *,
        n_neighbors: ArrayLike,
        scores: dict[str, Any],
        score_name: str = "Score",
        best: tuple[str, int] | None = None,
    ) -> None:
        self.n_neighbors = check_values(n_neighbors, "n_neighbors", (1,)).astype(int)
        if not (np.diff(self.n_neighbors) > 0).all():
            raise ValueError(f"n_neighbors must ascend, got {n_neighbors}")
        if not scores:
            raise ValueError("scores must hold at least one curve, got none")
        self.scores = {
            name: check_values(values, "scores", (2,)) for name, values in scores.items()
        }
        for name, values in self.scores.items():
            if len(values) != len(self.n_neighbors):
                raise ValueError(
                    f"scores of {name!r} must have a row for each number of neighbors, "
                    f"{len(self.n_neighbors)}, got {len(values)}"
                )
        if best is not None and (best[0] not in self.scores or best[1] not in self.n_neighbors):
            raise ValueError(f"best must be the name of a curve and one of n_neighbors, got {best}")
        self.score_name = score_name
        self.best = best

    def plot(self, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            None: a new figure.
        **kwargs : dict
            For `Axes.plot` of the means.

        Returns
        -------
        self : KSelectionDisplay
        """
        plt = import_pyplot(f"{type(self).__name__}.plot")
        from matplotlib.ticker import MaxNLocator

        makes_figure = ax is None
        if makes_figure:
            _, ax = plt.subplots(layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.lines_ = {name: self._plot_curve(name, kwargs) for name in self.scores}
        self._mark_best()
        ax.set(xlabel="Number of neighbors k", ylabel=self.score_name)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if makes_figure:  # where it hides nothing
            self.figure_.legend(loc="outside upper center", ncols=3, fontsize="small")
        else:
            ax.legend(fontsize="small")
        return self

    def _plot_curve(self, name, kwargs):
        values = self.scores[name]
        with np.errstate(invalid="ignore"):  # scores that are not finite
            means, deviations = values.mean(axis=1), values.std(axis=1)
        options = {"marker": "o", "markersize": 3, "label": name} | kwargs
        (line,) = self.ax_.plot(self.n_neighbors, means, **options)
        if 1 < values.shape[1] <= MOST_SPLITS:
            color = line.get_color()
            self.ax_.plot(self.n_neighbors, values, ".", color=color, markersize=3, alpha=0.45)
            self.ax_.fill_between(
                self.n_neighbors,
                means - deviations,
                means + deviations,
                color=color,
                alpha=0.1,
                linewidth=0,
            )
        return line

    def _mark_best(self):
        means = {name: values.mean(axis=1) for name, values in self.scores.items()}
        self.best_ = None
        if self.best is None:
            highest = {n: np.nan_to_num(m, nan=-np.inf, posinf=-np.inf) for n, m in means.items()}
            name = max(highest, key=lambda name: highest[name].max())
            place = int(highest[name].argmax())
        else:
            name, place = self.best[0], int(np.searchsorted(self.n_neighbors, self.best[1]))
        k, score = self.n_neighbors[place], means[name][place]
        if not np.isfinite(score):
            return
        title = f"{name}, " if len(means) > 1 else ""
        (self.best_,) = self.ax_.plot(
            [k],
            [score],
            linestyle="none",
            marker="*",
            markersize=13,
            markeredgecolor="black",
            color=self.lines_[name].get_color(),
            label=f"best: {title}k = {k}, {score:.4g}",
        )

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any) -> Self:
        """Draw the scores of a fitted search.

        Parameters
        ----------
        estimator : object
            Fitted: KNeighborsClassifierCV, KNeighborsRegressorCV, or a search of scikit-learn's
            such as GridSearchCV over "n_neighbors", or a pipeline's step of that name, with one
            score.
        ax : matplotlib Axes, optional
            None: a new figure.
        **kwargs : dict
            As in `plot`.

        Returns
        -------
        KSelectionDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        NotFittedError
            If the estimator is not fitted.
        TypeError
            If it is no search.
        ValueError
            If it has not tried numbers of neighbors, or not the same for all other parameters, or
            the same candidate on several amounts of data, as HalvingGridSearchCV.

        Examples
        --------
        >>> from sklearn.datasets import load_digits
        >>> from fastnn.inspection import KSelectionDisplay
        >>> from fastnn.model_selection import KNeighborsClassifierCV
        >>> X, y = load_digits(return_X_y=True)
        >>> search = KNeighborsClassifierCV(range(1, 6), metric=["l1", "l2"]).fit(X, y)
        >>> list(KSelectionDisplay.from_estimator(search).lines_)
        ['l1, uniform', 'l1, distance', 'l2, uniform', 'l2, distance']
        """
        import_pyplot(f"{cls.__name__}.from_estimator")
        check_is_fitted(estimator)
        results = getattr(estimator, "cv_results_", {})
        if "mean_test_score" not in results:
            raise TypeError(
                "estimator must be a search with one score, as KNeighborsClassifierCV, got "
                f"{type(estimator).__name__}"
            )
        numbers, scores, places = _curves(results)
        display = cls(
            n_neighbors=numbers,
            scores=scores,
            score_name=_score_name(estimator),
            best=places[estimator.best_index_] if hasattr(estimator, "best_index_") else None,
        )
        return display.plot(ax, **kwargs)


def _curves(results):
    """Return the numbers of neighbors, {name of a curve: its scores}, and the candidates' places.

    A curve is what one combination of the other parameters makes; a place (its name, k).
    """
    n_splits = sum(key.startswith("split") and key.endswith("_test_score") for key in results)
    scores = np.column_stack([results[f"split{i}_test_score"] for i in range(n_splits)])
    combinations, names, curves, places = [], [], [], []
    for candidate, values in zip(results["params"], scores, strict=True):
        others = dict(candidate)
        keys = [key for key in others if key.split("__")[-1] == "n_neighbors"]
        if len(keys) != 1:
            raise ValueError("estimator must have tried numbers of neighbors, got none")
        k = others.pop(keys[0])
        if others not in combinations:
            combinations.append(others)
            names.append(_new_name(others, names))
            curves.append({})
        place = combinations.index(others)
        if not np.array_equal(curves[place].setdefault(k, values), values, equal_nan=True):
            raise ValueError(
                f"estimator must have tried each candidate once, got several scores of "
                f"{names[place]!r} for n_neighbors={k}"
            )
        places.append((names[place], k))
    numbers = sorted(curves[0])
    for name, curve in zip(names, curves, strict=True):
        if sorted(curve) != numbers:
            raise ValueError(
                f"estimator must have tried the same numbers of neighbors for all, got {numbers} "
                f"and, for {name!r}, {sorted(curve)}"
            )
    by_name = zip(names, curves, strict=True)
    return numbers, {name: [curve[k] for k in numbers] for name, curve in by_name}, places


def _new_name(others, names):
    """Return what the values are called, with a number if that is among the names already."""
    name = ", ".join(str(getattr(value, "__name__", value)) for value in others.values()) or "mean"
    alike = [f"{name} ({number})" for number in range(2, len(names) + 2)]
    return next(new for new in [name, *alike] if new not in names)


def _score_name(estimator):
    scoring = getattr(estimator, "scoring", None)
    if isinstance(scoring, str):
        return scoring.replace("_", " ").capitalize()
    if scoring is None:
        kinds = {"classifier": "Accuracy", "regressor": "R²"}
        return kinds.get(get_tags(estimator).estimator_type, "Score")
    return "Score"
