"""What classifiers that are trained have in common: data, epochs, when to stop, what is shown.

    fit --> rows and classes checked --> a compiled model --> epochs, or a solver of SciPy's
                                                          --> weights kept, also after Ctrl-C

A model has `get_weights` and `set_weights`, `train` for an epoch, `loss_and_gradient` and `scores`:
`_core/training/_linear` and `_core/training/_network`.
"""

import copy
import warnings
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, validate_data

from ._sklearn.private import check_partial_fit_first_call
from ._validation import as_array, check_sample_weight

DTYPES = (np.float64, np.float32, np.uint8)
# Rows that the mean and the scale of bytes are taken from.
ROWS_FOR_SCALE = 256
# L-BFGS ends where the loss changes by less than this part of it.
LOSS_RESOLUTION = 64 * np.finfo(float).eps


class TrainedClassifier(ClassifierMixin, BaseEstimator):
    """Epochs over shuffled rows, with a progress bar and an end.

    Subclasses have the parameters `solver`, `max_iter`, `tol`, `n_iter_no_change`,
    `early_stopping`, `validation_fraction`, `batch_size`, `learning_rate_init`, `shuffle` and
    `verbose`, and the methods

    - `_start(X, classes)`: weights to begin with;
    - `_model(X, labels)`: a compiled model with the weights so far, and `_model_for_one_epoch`;
    - `_keep(weights, offsets)`: takes over a model's weights;
    - `_train_epoch(model, order, batch_size, epoch, progress)`: trains, returns the mean loss;
    - `_pack(weights, offsets)` and `_unpack(line)`: all that SciPy moves, as one line of float64.
    """

    classes_: NDArray[Any]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_iter_: int
    n_features_in_: int
    t_: int

    # Solvers whose epochs' losses show what is not finite. The others take what comes.
    _epoch_solvers = ()
    # Of this nobody is told where there are fewer rows: nobody has asked for it.
    _default_batch_size = None
    # Solvers that take all rows at once.
    _full_batch_solvers = ()

    # ---- data ------------------------------------------------------------------------------------

    def _check_rows_and_classes(self, X, y, reset):
        finite = self.solver not in self._epoch_solvers
        X, y = validate_data(
            self, as_array(X), y, dtype=DTYPES, order="C", ensure_all_finite=finite, reset=reset
        )
        check_classification_targets(y)
        return X, y

    def _find_classes(self, y, goes_on):
        """Return the classes and each row's, as numbers; those of a fit before if that goes on."""
        classes, labels = np.unique(y, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"{type(self).__name__} needs rows of at least 2 classes, got one class: "
                f"{classes[0]}"
            )
        if goes_on and not np.array_equal(classes, self.classes_):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {self.classes_}, `y` has {classes}"
            )
        return classes, labels

    def _labels_of(self, y):
        labels = np.searchsorted(self.classes_, y)
        known = self.classes_[np.minimum(labels, len(self.classes_) - 1)] == y
        if not np.all(known):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. "
                f"`y` has {np.unique(y)}"
            )
        return labels

    def _start_curves(self):
        self.loss_curve_, self.validation_scores_, self.best_validation_score_ = [], None, None
        self.t_ = 0
        self._moments = None

    @contextmanager
    def _undone_on_error(self):
        """Leave the estimator as it was where an error is raised; Ctrl-C keeps what is learned."""
        before = dict(vars(self))
        # Curves grow in place, and the random state moves on.
        curves = copy.deepcopy({k: v for k, v in before.items() if isinstance(v, (list, dict))})
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

    # ---- models ----------------------------------------------------------------------------------

    def _as_lists(self, parts):
        return parts

    def _from_lists(self, parts):
        return parts

    def _take(self, parts):
        self._keep(*self._from_lists(parts))

    def _restore_moments(self, model):
        if self._moments is not None and self._moments[0] == model.dtype:
            model.set_moments(self._moments[1])

    @contextmanager
    def _kept(self, model):
        """Take over the model's weights in the end, also after Ctrl-C."""
        try:
            yield
        finally:
            self._take(model.get_weights())
            self._moments = model.dtype, model.get_moments()

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

    def _note(self, loss):
        self.loss_curve_.append(float(loss))

    def _advance(self, bar, loss):
        self.n_iter_ += 1
        self._note(loss)
        bar.update()
        bar.set_postfix(loss=f"{loss:.4g}")

    # ---- epochs ----------------------------------------------------------------------------------

    def _descend(self, model, X, labels, weights=None):
        rows, held_out = self._split(X, labels, weights)
        patience = _Patience(self.tol, self.n_iter_no_change)
        n_losses = len(self.loss_curve_)
        batch_size = self._checked_batch_size(len(rows))
        with (
            self._kept(model),
            _best_restored(model, held_out),
            self._progress_bar(len(rows) * self.max_iter, "row") as bar,
        ):
            for epoch in range(self.max_iter):
                if not self._run_epoch(model, X, rows, batch_size, epoch, bar):
                    return
                score = -self.loss_curve_[-1]
                if held_out is not None:
                    score = held_out.measure(model)
                    self._note_validation(score)
                if patience.is_over(score) and not self._goes_on_slower(patience):
                    break
            else:
                if self.tol is not None:
                    self._warn_of_end()
        self._warn_of_rise(self.loss_curve_[n_losses:])

    def _fit_one_epoch(self, X, y, classes, sample_weight):
        """Descend over some rows once: what `partial_fit` does."""
        with self._undone_on_error():
            self._run_one_epoch(X, y, classes, sample_weight)
        return self

    def _run_one_epoch(self, X, y, classes, sample_weight):
        first = not hasattr(self, "classes_")
        X, y = self._check_rows_and_classes(X, y, reset=first)
        if check_partial_fit_first_call(self, classes):
            classes = np.unique(classes)
            if len(classes) < 2:
                raise ValueError(f"classes must name at least 2 classes, got {classes}")
            self._start(X, classes)
            self.n_iter_ = 0
        labels = self._labels_of(y)
        weights = check_sample_weight(sample_weight, len(X), may_vanish=True)
        if weights is not None and not weights.any():
            return  # nothing to learn
        model = self._model_for_one_epoch(X, labels, sample_weight)
        with (
            np.errstate(over="ignore", invalid="ignore"),
            self._kept(model),
            self._progress_bar(len(X), "row") as bar,
        ):
            rows, epoch = np.arange(len(X)), len(self.loss_curve_)
            self._run_epoch(model, X, rows, min(self._batch_size(), len(X)), epoch, bar)
        self._forget_validation()

    def _note_validation(self, score):
        self.validation_scores_.append(score)
        self.best_validation_score_ = max(self.validation_scores_)

    def _forget_validation(self):
        self.validation_scores_, self.best_validation_score_ = None, None

    def _batch_size(self):
        return self.batch_size

    def _goes_on_slower(self, patience):
        """Whether smaller steps are tried before the end."""
        return False

    def _warn_of_end(self):
        warnings.warn(
            f"Maximum iterations ({self.max_iter}) reached and the optimization has not converged "
            "yet. Increase max_iter or learning_rate_init, or scale the data",
            ConvergenceWarning,
            stacklevel=6,
        )

    def _warn_of_rise(self, losses):
        """Losses scatter from epoch to epoch, but do not double where training goes well."""
        first, last = losses[0], losses[-1]
        if last > 2.0 * first and last - first > 10.0 * (self.tol or 0.0):
            warnings.warn(
                f"The loss has risen from {first:.4g} to {last:.4g}. Lower learning_rate_init, "
                f"now {self.learning_rate_init}, or scale the data",
                ConvergenceWarning,
                stacklevel=6,
            )

    def _split(self, X, labels, weights):
        """Return the rows to learn from, and a `_HeldOut` of the others or None."""
        self._forget_validation()
        if not self.early_stopping:
            return np.arange(len(X)), None
        self.validation_scores_ = []
        rows, others = self._set_aside(labels)
        # Not finite, they would show nowhere else.
        assert_all_finite(X[others], estimator_name=type(self).__name__, input_name="X")
        if weights is not None and not (weights[rows].any() and weights[others].any()):
            raise ValueError(
                "early_stopping needs rows whose sample_weight is not 0 both among those set aside "
                "and among the others, got too few of them"
            )
        return np.sort(rows), _HeldOut(
            self._model(X[others], None),
            labels[others],
            None if weights is None else weights[others],
        )

    def _set_aside(self, labels):
        """Return two parts of the rows, with the same share of each class if they are enough."""
        n, n_classes = len(labels), len(self.classes_)
        n_others = int(np.ceil(self.validation_fraction * n))
        if n_others >= n:
            raise ValueError(
                f"early_stopping with validation_fraction={self.validation_fraction} sets aside "
                f"{n_others} of {n} rows, and leaves none to learn from"
            )
        counts = np.bincount(labels)
        can_stratify = counts[counts > 0].min() > 1 and n_classes <= min(n_others, n - n_others)
        return train_test_split(
            np.arange(n),
            test_size=self.validation_fraction,
            stratify=labels if can_stratify else None,
            random_state=self._random_state,
        )

    def _checked_batch_size(self, n_rows):
        if self.solver in self._full_batch_solvers:
            return n_rows
        size = self._batch_size()
        if size > n_rows and self.batch_size == size != self._default_batch_size:
            warnings.warn(
                f"Got `batch_size` = {size}, larger than the sample size, {n_rows}. It is going to "
                "be clipped",
                UserWarning,
                stacklevel=6,
            )
        return min(size, n_rows)

    def _run_epoch(self, model, X, rows, batch_size, epoch, bar):
        """Descend over the rows once; return False, and go back, where that is not finite."""
        shuffled = self.shuffle and self.solver not in self._full_batch_solvers
        order = self._random_state.permutation(rows) if shuffled else rows
        before = model.get_weights()
        loss = self._train_epoch(model, order, batch_size, epoch, bar.update)
        self.n_iter_ += 1
        self.t_ += len(rows)
        if np.isfinite(loss) and _all_finite(model.get_weights()):
            self._note(loss)
            bar.set_postfix(loss=f"{loss:.4g}")
            return True
        model.set_weights(*before)
        assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")
        warnings.warn(
            f"The loss was not finite in epoch {epoch + 1}: the weights are those before it. Lower "
            f"learning_rate_init, now {self.learning_rate_init}, or scale the data",
            ConvergenceWarning,
            stacklevel=6,
        )
        return False

    # ---- L-BFGS ----------------------------------------------------------------------------------

    def _minimize(self, make_model, X, max_evaluations):
        """Minimize the loss over all rows; `make_model` makes a model of rows of any type.

        Where float32 ends the search with derivatives above `tol`, as features of very different
        sizes do, it goes on in float64.
        """
        with self._progress_bar(self.max_iter, "iteration") as bar:
            result = self._run_lbfgs(
                make_model(X), self._pack_start(), len(X), max_evaluations, bar
            )
            if (
                X.dtype == np.float32
                and self._is_above_tol(result)
                and self.n_iter_ < self.max_iter
            ):
                model = make_model(X.astype(np.float64))
                result = self._run_lbfgs(model, result.x, len(X), max_evaluations, bar)
        if self._is_above_tol(result) or not (
            result.success or (self.tol is None and self.n_iter_)
        ):
            warnings.warn(
                f"L-BFGS ended without convergence after {self.n_iter_} iterations, with a "
                f"derivative of {np.abs(result.jac).max():.3g} where tol is {self.tol} "
                f"({result.message}). Increase max_iter, or scale the data",
                ConvergenceWarning,
                stacklevel=5,
            )

    def _is_above_tol(self, result):
        # A loss that is known to so many digits tells derivatives to half as many.
        limit = max(self.tol or 0.0, np.sqrt(LOSS_RESOLUTION))
        return self.tol is not None and not np.abs(result.jac).max() <= limit

    def _run_lbfgs(self, model, start, n_rows, max_evaluations, bar):
        def loss_and_gradient(line):
            model.set_weights(*self._as_lists(self._unpack(line)))
            loss, *gradients = model.loss_and_gradient()
            self.t_ += n_rows
            return loss, self._pack_gradients(*self._from_lists(gradients))

        def after_iteration(intermediate_result):
            self._keep(*self._unpack(intermediate_result.x))
            self._advance(bar, intermediate_result.fun)

        # Rounding ends the search where no step lowers the loss any more.
        return scipy.optimize.minimize(
            loss_and_gradient,
            start,
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options={
                "maxiter": self.max_iter - self.n_iter_,
                "maxfun": max_evaluations,
                "gtol": self.tol or 0.0,
                "ftol": LOSS_RESOLUTION,
            },
        )


def mean_and_scale(X, centered):
    """Return the features' means, and a common scale to standard deviation 1, of some rows."""
    some = X[np.linspace(0, len(X) - 1, min(len(X), ROWS_FOR_SCALE)).astype(int)]
    n, d = some.shape
    # Whole numbers are exact, so that constant features have no deviation at all.
    squares = int(np.square(some, dtype=np.uint32).sum(dtype=np.int64))
    sums = some.sum(axis=0, dtype=np.int64) if centered else np.zeros(d, np.int64)
    variance = (n * squares - int((sums * sums).sum())) / (n * n * d)
    return sums / n, 1.0 / np.sqrt(variance) if variance > 0 else 1.0


def _all_finite(weights):
    """Whether arrays, in lists or not, are finite."""
    if isinstance(weights, (list, tuple)):
        return all(map(_all_finite, weights))
    return np.isfinite(weights).all()


class _Patience:
    """Ends training when a score has not risen for too long, as in scikit-learn."""

    def __init__(self, tol, n_iter_no_change):
        self.tol, self.n_iter_no_change = tol, n_iter_no_change
        self.best, self.waited = -np.inf, 0

    def is_over(self, score):
        if self.tol is None:
            return False
        self.waited = self.waited + 1 if score < self.best + self.tol else 0
        self.best = max(self.best, score)
        return self.waited > self.n_iter_no_change


class _HeldOut:
    """Rows set aside, the accuracy on them, and the weights that did best."""

    def __init__(self, model, labels, weights_of_rows):
        self.model, self.labels, self.weights_of_rows = model, labels, weights_of_rows
        self.best, self.best_weights = -np.inf, None

    def measure(self, model):
        weights = model.get_weights()
        self.model.set_weights(*weights)
        hits = self.model.scores().argmax(axis=1) == self.labels
        score = float(np.average(hits, weights=self.weights_of_rows))
        if score > self.best:
            self.best, self.best_weights = score, weights
        return score


@contextmanager
def _best_restored(model, held_out):
    try:
        yield
    finally:
        if held_out is not None and held_out.best_weights is not None:
            model.set_weights(*held_out.best_weights)
