"""The ways of `fit` and `partial_fit`."""

from __future__ import annotations

import copy
import sys
import warnings
from contextlib import contextmanager
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax
from sklearn.base import BaseEstimator, ClassifierMixin, is_regressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import compute_class_weight
from sklearn.utils.validation import (
    assert_all_finite,
    check_is_fitted,
    validate_data,
)

from .._sklearn.private import available_if, check_partial_fit_first_call, fit_context
from .._validation import as_array, check_random_state, check_sample_weight
from .data import DTYPES, mean_and_scale
from .schedules import Schedule
from .solvers import Objective, is_above, minimize
from .stopping import HeldOut
from .targets import Classes, check_classes
from .trainer import History, Trainer


def _gives_probabilities(estimator):
    if estimator.loss != "softmax":
        raise AttributeError(f"probabilities are of loss='softmax' only, got {estimator.loss!r}")
    return True


class TrainedEstimator(BaseEstimator):
    """Parameters of linear models or networks, learned from rows and targets.

    A subclass has the parameters in `parameters.CONSTRAINTS`, and the methods

    - `_make_targets(y, announced)`: what is to be learned, of `targets`;
    - `_initialize()`: the first weights;
    - `_make_model(X, y, sample_weight, alpha)`: a compiled model with the weights so far;
    - `_model_weights()`, `_keep(weights, biases)`: the weights of such models;
    - `_score_validation(scores, y, sample_weight)`.
    """

    loss_curve_: list[float]
    history_: dict[str, list[float]]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    loss_: float
    best_loss_: float | None
    n_iter_: int
    n_features_in_: int
    t_: int

    # Solvers that go through epochs, whose losses show what is not finite: others check the rows.
    _epoch_solvers: ClassVar[tuple[str, ...]] = ("sgd", "adam")
    # Those that take all rows at once.
    _full_batch_solvers: ClassVar[tuple[str, ...]] = ()
    _auto_batch_size: ClassVar[int]

    # ---- data ------------------------------------------------------------------------------------

    def _check_rows(self, X, y, reset):
        X, y = validate_data(
            self,
            as_array(X),
            y,
            dtype=DTYPES,
            order="C",
            ensure_all_finite=self.solver not in self._epoch_solvers,
            reset=reset,
            multi_output=True,
            y_numeric=is_regressor(self),
        )
        return X, y

    def _targets_for(self, X, y):
        """Return encoded targets in the type of a model of X."""
        if y.dtype == np.int64:
            return y
        dtype = np.float64 if X.dtype == np.float64 else np.float32
        targets = np.ascontiguousarray(y, dtype)
        if not np.isfinite(targets).all():
            raise ValueError(
                f"y must be within the range of {targets.dtype}, the type of X, got values up to "
                f"{np.abs(y).max():.4g}"
            )
        return targets

    def _take_targets(self, targets):
        self._targets = targets
        vars(self).update(targets.attributes)

    def _start(self, X):
        self._mean, self._scale = None, 1.0
        if X.dtype == np.uint8:
            some = self._rows_for_scale(X)
            self._mean, self._scale = mean_and_scale(some, centered=self._centers_bytes())
        self._dtype = np.float32 if X.dtype == np.float32 else np.float64
        self._random_state = check_random_state(self.random_state)
        self._history = History()
        # What the optimizer keeps, with the solver and the type that it is of.
        self._moments = None
        self._initialize()

    def _centers_bytes(self):
        return True

    def _rows_for_scale(self, X):
        """Return the rows that `mean_and_scale` may take some of."""
        return X

    def _alpha_for(self, sample_weight):
        return self.alpha

    def _weights_of_rows(self, y, sample_weight, of_all_rows):
        """Return the weights of rows with encoded targets, or None."""
        return sample_weight

    @contextmanager
    def _undone_on_error(self):
        """Leave the estimator as it was where an error is raised; Ctrl-C keeps what is learned."""
        before = dict(vars(self))
        # Curves grow in place, and the random state moves on.
        growing = ("_history", "history_", "loss_curve_", "validation_scores_")
        curves = copy.deepcopy({name: before[name] for name in growing if name in before})
        random_state = before.get("_random_state")
        drawn = random_state.get_state() if random_state is not None else None
        try:
            yield
        except Exception:
            vars(self).clear()
            vars(self).update(before | curves)
            if drawn is not None:
                random_state.set_state(drawn)
            raise

    # ---- fit and partial_fit ---------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the weights from rows and their targets.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32, float64 and uint8 are taken as they are; others become float64.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Of classifiers, classes: integers, strings, or anything that sorts. Of regressors,
            numbers.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts in the loss, as if it were there so many times, and in
            validation scores. At least 0; those of `class_weight` are factors of them.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For NaN or infinity, targets that are not what the estimator learns, or parameters out
            of range; with `warm_start`, for other features, targets or layers than before; with
            `early_stopping`, for too few rows to set some aside.
        """
        with self._undone_on_error(), np.errstate(over="ignore", invalid="ignore"):
            self._fit(X, y, sample_weight)
        return self

    def _fit(self, X, y, sample_weight):
        goes_on = self.warm_start and hasattr(self, "t_")
        X, y = self._check_rows(X, y, reset=not goes_on)
        targets = self._make_targets(y)
        if goes_on:
            self._targets.require_same(targets)
        self._take_targets(targets)
        y = self._targets_for(X, targets.encode(y))
        if not goes_on:
            self._start(X)
        self._prepare_training()
        self._history.start_fit()
        given = check_sample_weight(sample_weight, len(X))
        weights = self._weights_of_rows(y, given, of_all_rows=True)
        if weights is not given:
            if not weights.any():
                raise ValueError(
                    "class_weight and sample_weight together leave no row with a weight above 0"
                )
            weights = check_sample_weight(weights, len(X))
        arguments = y, weights, self._alpha_for(sample_weight)
        if self.solver in self._epoch_solvers:
            self._descend(X, *arguments, given)
        elif self.solver == "lbfgs":
            self._minimize(X, *arguments)
        else:
            self._search(X, *arguments)

    def _prepare_training(self):
        """Take over changed parameters, or raise where training cannot go on with them."""

    def _fit_one_epoch(self, X, y, sample_weight, classes=None):
        """Descend over some rows once: what `partial_fit` does."""
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        with self._undone_on_error(), np.errstate(over="ignore", invalid="ignore"):
            self._run_one_epoch(X, y, sample_weight, classes)
        return self

    def _run_one_epoch(self, X, y, sample_weight, classes):
        X, y = self._check_rows(X, y, reset=not hasattr(self, "t_"))
        if self._is_first_call(classes):
            self._take_targets(self._make_targets(y, classes))
            self._start(X)
            self._publish()
        self._prepare_training()
        y = self._targets_for(X, self._targets.encode(y))
        given = check_sample_weight(sample_weight, len(X), may_vanish=True)
        weights = self._weights_of_rows(y, given, of_all_rows=False)
        if weights is not None and not weights.any():
            return  # nothing to learn
        history, self._history.validation_scores = self._history, None
        model = self._restored_model(X, y, weights, self._alpha_for(sample_weight))
        size = min(self._find_batch_size(), len(X))
        with self._kept(model), self._progress_bar(len(X), "row") as bar:
            trainer = self._make_trainer(model, np.arange(len(X)), size)
            epoch = len(history.curves["loss"])
            measured = trainer.run_epoch(epoch, bar.update)
            if measured is not None:
                history.add(**measured)
                bar.set_postfix(loss=f"{measured['loss']:.4g}")
        if measured is None:
            self._complain_of_divergence(X)

    def _is_first_call(self, classes):
        """Whether a call to `partial_fit` is the first one, and has what that needs."""
        if is_regressor(self):
            return not hasattr(self, "t_")
        return check_partial_fit_first_call(self, classes)

    @contextmanager
    def _kept(self, model):
        """Take over the model's weights and what is known of training, also after Ctrl-C."""
        try:
            yield
        finally:
            self._keep(*model.get_weights())
            self._moments = self.solver, model.dtype, model.get_moments()
            self._publish()

    def _publish(self):
        """Tell what is known of training as attributes."""
        history = self._history
        self.history_, self.loss_curve_ = history.curves, history.curves["loss"]
        self.n_iter_, self.t_ = history.n_iter, history.n_seen
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else np.nan
        if self.early_stopping:
            history.best_loss = None
        self.best_loss_ = history.best_loss
        self.validation_scores_ = history.validation_scores
        scores = [score for score in self.validation_scores_ or [] if not np.isnan(score)]
        self.best_validation_score_ = max(
            scores, default=np.nan if self.validation_scores_ else None
        )

    @contextmanager
    def _progress_bar(self, total, unit):
        from tqdm.auto import tqdm

        with tqdm(
            total=total,
            desc=type(self).__name__,
            unit=f" {unit}s",
            unit_scale=unit == "row",
            disable=not self.verbose,
        ) as bar:
            yield bar
            bar.total = bar.n  # the end has come, if sooner than it might
            bar.refresh()

    # ---- scores ----------------------------------------------------------------------------------

    def _scores(self, X):
        """Return scores of rows, which are checked where their scores are not finite."""
        check_is_fitted(self)
        X = validate_data(
            self, as_array(X), dtype=DTYPES, order="C", ensure_all_finite=False, reset=False
        )
        with np.errstate(over="ignore", invalid="ignore"):
            scores, is_finite = self._score_rows(X)
        if not is_finite:
            assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")
        return scores

    # ---- epochs ----------------------------------------------------------------------------------

    def _descend(self, X, y, weights, alpha, given):
        rows, held_out = self._split(X, y, weights, given)
        model = self._restored_model(X, y, weights, alpha)
        n_losses = len(self._history.curves["loss"])
        trainer = self._make_trainer(model, rows, self._check_batch_size(len(rows)))
        with (
            self._kept(model),
            self._progress_bar(len(rows) * self.max_iter, "row") as bar,
        ):
            end = trainer.run(
                self.max_iter,
                self.tol,
                self.n_iter_no_change,
                held_out,
                self._targets.validation_name,
                bar,
            )
        if end == "diverged":
            self._complain_of_divergence(X)
            return
        if end == "max_iter" and self.tol is not None:
            warn(
                f"Maximum iterations ({self.max_iter}) reached and the optimization has not "
                "converged yet. Increase max_iter or learning_rate_init, or scale the data"
            )
        self._warn_of_rise(self.loss_curve_[n_losses:])

    def _restored_model(self, X, y, weights, alpha):
        model = self._make_model(X, y, weights, alpha)
        if self._moments is not None and self._moments[:2] == (self.solver, model.dtype):
            model.set_moments(self._moments[2])
        return model

    def _make_trainer(self, model, rows, batch_size):
        is_adam = self.solver == "adam"
        name = self.learning_rate
        if is_adam and name in ("invscaling", "adaptive"):
            name = "constant"
        schedule = Schedule(
            name,
            self.learning_rate_init,
            self.power_t,
            self.decay_factor,
            self.decay_every,
            self.max_iter,
        )
        shuffled = self.shuffle and self.solver not in self._full_batch_solvers
        return Trainer(
            model,
            schedule,
            self._history,
            rows,
            batch_size=batch_size,
            random_state=self._random_state if shuffled else None,
            optimizer={
                "momentum": self.momentum,
                "nesterov": self.nesterovs_momentum,
                "adam": (self.beta_1, self.beta_2, self.epsilon) if is_adam else None,
            },
            with_accuracy=self._targets.has_accuracy,
        )

    def _find_batch_size(self):
        return self._auto_batch_size if self.batch_size == "auto" else self.batch_size

    def _check_batch_size(self, n_rows):
        if self.solver in self._full_batch_solvers:
            return n_rows
        size = self._find_batch_size()
        if size > n_rows and self.batch_size != "auto":
            warn(
                f"Got `batch_size` = {size}, larger than the sample size, {n_rows}. It is going to "
                "be clipped",
                UserWarning,
            )
        return min(size, n_rows)

    def _split(self, X, y, weights, given):
        """Return the rows to learn from, and a `HeldOut` of the others or None.

        `weights` have those of classes in them, `given` have not.
        """
        if not self.early_stopping:
            return np.arange(len(X)), None
        self._history.validation_scores = []
        rows, others = self._set_aside(y)
        # Not finite, they would show nowhere else.
        assert_all_finite(X[others], estimator_name=type(self).__name__, input_name="X")
        if weights is not None and not (weights[rows].any() and weights[others].any()):
            raise ValueError(
                "early_stopping needs rows whose sample_weight is not 0 both among those set aside "
                "and among the others, got too few of them"
            )
        given = None if given is None else given[others]
        model = self._make_model(X[others], None, None, 0.0)
        return np.sort(rows), HeldOut(model, y[others], given, self._score_validation)

    def _set_aside(self, y):
        """Return two parts of the rows, with the same share of each class if they are enough."""
        n = len(y)
        n_others = int(np.ceil(self.validation_fraction * n))
        if n_others >= n:
            raise ValueError(
                f"early_stopping with validation_fraction={self.validation_fraction} sets aside "
                f"{n_others} of {n} rows, and leaves none to learn from"
            )
        if n_others < self._targets.min_validation_rows:
            raise ValueError(
                "The validation set is too small: R² needs 2 rows. Increase 'validation_fraction' "
                "or the size of your dataset"
            )
        return train_test_split(
            np.arange(n),
            test_size=self.validation_fraction,
            stratify=y if self._targets.can_stratify(y, n_others) else None,
            random_state=self._random_state,
        )

    # ---- what a user should hear of --------------------------------------------------------------

    def _complain_of_divergence(self, X):
        assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")
        warn(
            f"The loss was not finite in epoch {self.n_iter_}: the weights are those before it. "
            f"Lower learning_rate_init, now {self.learning_rate_init}, or scale the data"
        )

    def _warn_of_rise(self, losses):
        """Losses scatter from epoch to epoch, but do not double where training goes well."""
        first, last = losses[0], losses[-1]
        if last > 2.0 * first and last - first > 10.0 * (self.tol or 0.0):
            warn(
                f"The loss has risen from {first:.4g} to {last:.4g}. Lower learning_rate_init, "
                f"now {self.learning_rate_init}, or scale the data"
            )

    # ---- solvers that take the loss as a function ------------------------------------------------

    def _objective(self, X, y, weights, alpha):
        self._moments = None
        first_weights = self._model_weights()[0]
        shapes = [np.shape(part) for part in (*first_weights, *self._moving_biases())]
        model = self._make_model(X, y, weights, alpha)
        return Objective(model, shapes, len(first_weights))

    def _moving_biases(self):
        return self._model_weights()[1]

    def _after_iteration(self, objective, n_seen, n_rows, bar):
        """Return what takes over a vector of parameters and its loss."""

        def take(vector, loss):
            self._keep(*objective.split(vector))
            self._history.n_iter += 1
            self._history.n_seen = n_seen + objective.n_evaluations * n_rows
            self._history.add(loss)
            self._publish()
            bar.update()
            bar.set_postfix(loss=f"{loss:.4g}")

        return take

    def _minimize(self, X, y, weights, alpha):
        """Minimize the loss over all rows.

        Where float32 ends the search with derivatives above `tol`, as features of very different
        sizes do, it goes on in float64.
        """
        self._publish()
        with self._progress_bar(self.max_iter, "iteration") as bar:
            result = self._run_lbfgs(X, y, weights, alpha, None, bar)
            if (
                X.dtype == np.float32
                and is_above(result, self.tol)
                and self.n_iter_ < self.max_iter
            ):
                wide = X.astype(np.float64)
                y = self._targets_for(wide, y)
                result = self._run_lbfgs(wide, y, weights, alpha, result.x, bar)
        if is_above(result, self.tol) or not (
            result.success or (self.tol is None and self.n_iter_)
        ):
            warn(
                f"L-BFGS ended without convergence after {self.n_iter_} iterations, with a "
                f"derivative of {np.abs(result.jac).max():.3g} where tol is {self.tol} "
                f"({result.message}). Increase max_iter, or scale the data"
            )

    def _run_lbfgs(self, X, y, weights, alpha, start, bar):
        objective = self._objective(X, y, weights, alpha)
        n_seen = self._history.n_seen
        result = minimize(
            objective,
            objective.join(*self._model_weights()) if start is None else start,
            tol=self.tol,
            max_iter=self.max_iter - self.n_iter_,
            max_evaluations=self.max_fun,
            after_iteration=self._after_iteration(objective, n_seen, len(X), bar),
        )
        self.t_ = self._history.n_seen = n_seen + objective.n_evaluations * len(X)
        return result


class TrainedClassifier(ClassifierMixin, TrainedEstimator):
    """One that learns classes, or where a subclass can, several labels a row."""

    classes_: NDArray[Any]

    _takes_labels = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self._takes_labels and self.loss == "softmax"
        return tags

    # ---- targets ---------------------------------------------------------------------------------

    def _check_rows(self, X, y, reset):
        X, y = super()._check_rows(X, y, reset)
        return X, check_classes(y, self._takes_labels)

    def _make_targets(self, y, announced=None):
        return Classes(y, announced)

    def _score_validation(self, scores, y, sample_weight):
        if scores.shape[1] == 1:
            hits = (scores[:, 0] > 0) == y
        elif self._targets.is_multilabel:
            hits = ((scores > 0) == (y > 0)).all(axis=1)
        else:
            hits = scores.argmax(axis=1) == y
        return np.average(hits, weights=sample_weight)

    # ---- weights of classes ----------------------------------------------------------------------

    def _weights_of_rows(self, y, sample_weight, of_all_rows):
        self._weights_of_classes = None
        if self.class_weight is None:
            return sample_weight
        if self._targets.is_multilabel:
            raise ValueError(
                "class_weight is for rows of one class each: with several labels a row, pass "
                f"sample_weight instead, got class_weight={self.class_weight}"
            )
        if not of_all_rows and self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit: compute the weights of "
                "all rows with sklearn.utils.compute_class_weight, and pass them as a dict"
            )
        counts = np.bincount(y, sample_weight, len(self.classes_))
        self._weights_of_classes = self._weigh_classes(counts)
        weights = self._weights_of_classes[y]
        return weights if sample_weight is None else weights * sample_weight

    def _weigh_classes(self, counts):
        """Return what the rows of each class count; there are so many of each."""
        if self.class_weight == "balanced":
            shares = np.count_nonzero(counts) * counts / counts.sum()
            weights = np.divide(1.0, shares, out=np.zeros_like(shares), where=shares > 0.0)
        else:
            weights = compute_class_weight(
                self.class_weight, classes=self.classes_, y=self.classes_
            )
        if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.any()):
            raise ValueError(
                "class_weight must hold finite numbers of at least 0, not all of them 0, got "
                f"{self.class_weight}"
            )
        return weights.astype(np.float64)

    # ---- prediction ------------------------------------------------------------------------------

    def decision_function(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return the scores of each class, or for two classes how much the second one's is higher.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
            float64 where `X` is, else float32. Of several labels a row, a score for each: a label
            is predicted where it is positive.

        Raises
        ------
        ValueError
            For NaN or infinity, or another number of features than in `fit`.
        """
        scores = self._scores(X)
        if self._targets.is_multilabel or len(self.classes_) > 2:
            return scores
        return scores[:, 0] if scores.shape[1] == 1 else scores[:, 1] - scores[:, 0]

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of the highest score for each row, or its labels.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_labels) of 0 and 1
        """
        scores = self.decision_function(X)
        if self._targets.is_multilabel:
            return (scores > 0).astype(np.int64)
        return self.classes_[scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).view("i1")]

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the logarithms of the classes' probabilities.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
        """
        scores = self.decision_function(X).astype(np.float64, copy=False)
        if scores.ndim == 1:
            return np.column_stack([log_expit(-scores), log_expit(scores)])
        return log_expit(scores) if self._targets.is_multilabel else log_softmax(scores, axis=1)

    @available_if(_gives_probabilities)
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each class: the softmax of the scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Rows sum to 1. Of several labels a row, the probability of each, 1 / (1 + exp(-score)).
        """
        return np.exp(self.predict_log_proba(X))


def warn(message, category=ConvergenceWarning):
    """Warn at the line that has called the package."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _is_inside(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_inside(frame):
    name = frame.f_globals.get("__name__", "")
    return name.split(".")[0] in ("fastnn", "sklearn", "scipy", "contextlib")
