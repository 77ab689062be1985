"""Linear classifiers with the multiclass SVM loss and with the softmax loss.

Both are one estimator with another loss: linear scores, their mean loss over the rows, and a
penalty on the weights. Solvers go from guessing to L-BFGS; the way of the data is in
`_core/training/_linear`.
"""

from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_expit, log_softmax
from sklearn.utils import compute_class_weight
from sklearn.utils.validation import assert_all_finite, check_is_fitted, validate_data

from . import _validation, optimize
from ._core._threads import effective_n_threads
from ._core.training._linear import LinearModel
from ._sklearn.private import Interval, StrOptions, available_if, fit_context
from ._training import DTYPES, ROWS_FOR_SCALE, TrainedClassifier, mean_and_scale

__all__ = ["SVMClassifier", "SoftmaxClassifier"]

MARGIN = 1.0

_DOCUMENTATION = """{summary}

    The loss is the mean over the rows of {loss_of_row},
    plus alpha / 2 times the sum of the squares of `coef_`. Weights start at zero.

    Parameters
    ----------
    alpha : float, default=1e-4
        Strength of the L2 penalty. The intercept is free of it.
    solver : {{"sgd", "gd", "lbfgs", "random_search", "random_local_search"}}, default="sgd"
        "sgd": gradient descent by mini-batches; "gd": by all rows at once; "lbfgs": SciPy's
        L-BFGS-B; "random_search": `max_iter` guesses from a normal distribution with the standard
        deviation `learning_rate_init`; "random_local_search": such a step from the best weights so
        far, taken if the loss falls.
    batch_size : int, default=256
        Rows of a mini-batch. More than there are: a warning, and all of them.
    learning_rate_init : float, default=1e-3
        Step size of gradient descent and of the searches.
    learning_rate : {{"constant", "step", "cosine", "invscaling"}}, default="constant"
        What "sgd" and "gd" multiply `learning_rate_init` with, after t rows and e epochs: 1;
        ``decay_factor ** (e // decay_every)``; half a cosine wave from 1 to 0 over `max_iter`
        epochs; ``1 / (t + 1) ** power_t`` with t at the epoch's start.
    momentum : float, default=0.9
        Of "sgd" and "gd", in [0, 1).
    nesterov : bool, default=True
        Whether the momentum is Nesterov's.
    max_iter : int, default=200
        Epochs, iterations of L-BFGS, or guesses.
    tol : float or None, default=1e-4
        "sgd" and "gd" end when the loss (with `early_stopping`, the validation accuracy) has not
        improved by it for more than `n_iter_no_change` epochs; "lbfgs" when no derivative exceeds
        it. None: not before `max_iter`, and without a warning then.
    n_iter_no_change : int, default=10
    early_stopping : bool, default=False
        Whether "sgd" and "gd" set rows aside, measure the accuracy on them after each epoch, and
        keep the weights that did best.
    validation_fraction : float, default=0.1
        Part of the rows that is set aside, with the same share of each class where there are rows
        enough.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the fit before.
    fit_intercept : bool, default=True
    class_weight : dict, "balanced" or None, default=None
        Weights of the classes' rows, as in scikit-learn; `fit` divides them by their mean.
    shuffle : bool, default=True
        Whether "sgd" visits the rows in a new order in each epoch.
    random_state : int, RandomState, Generator or None, default=None
        Of the order, the rows set aside, and the searches.
    decay_factor : float, default=0.5
    decay_every : int, default=10
        Epochs.
    power_t : float, default=0.5
    verbose : bool, default=False
        Whether to show a progress bar with the loss.
    n_jobs : int or None, default=None
        Threads, as in scikit-learn; None: all the cores that this process may use. Results do not
        depend on it.

    Attributes
    ----------
    coef_ : ndarray of shape (n_classes, n_features), or (1, n_features) for two classes
        float64 for float64 and uint8 data, else float32.
    intercept_ : ndarray of shape (n_classes,), or (1,)
    classes_ : ndarray of shape (n_classes,)
    loss_curve_ : list of float
        Loss with the penalty: over each epoch, while the weights move; after each iteration of
        L-BFGS; the best after each guess, the first being the start.
    validation_scores_ : list of float, or None
        Accuracy on the rows set aside, after each epoch.
    best_validation_score_ : float, or None
    n_iter_ : int
        Epochs, iterations or guesses of the last `fit` and of calls to `partial_fit` since.
    t_ : int
        Rows that the loss has been evaluated for.
    n_features_in_ : int
        Features that `fit` saw.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Where `X` has names that are strings.

    Notes
    -----
    uint8 data are not converted: the kernels read bytes, and meet them as (x - mean) / scale, with
    the mean of each feature and one scale from {rows_for_scale} rows. The penalty and the step
    size are in these units; `coef_` and `intercept_` are for the bytes themselves.

    {two_classes}

    If the loss overflows, training ends with a ConvergenceWarning and the weights of the last epoch
    that ended well. Ctrl-C leaves the weights so far.
{more}"""


def _document(summary, loss_of_row, two_classes, more):
    return _DOCUMENTATION.format(
        summary=summary,
        loss_of_row=loss_of_row,
        two_classes=two_classes,
        more=more,
        rows_for_scale=ROWS_FOR_SCALE,
    )


def _uses_sgd(estimator):
    if estimator.solver != "sgd":
        raise AttributeError(f"partial_fit is of solver='sgd' only, got solver={estimator.solver}")
    return True


class _LinearClassifier(TrainedClassifier):
    """What the two classifiers share: everything but the loss."""

    coef_: NDArray[np.floating]
    intercept_: NDArray[np.floating]

    _loss: ClassVar[str | None] = None
    _epoch_solvers = ("sgd", "gd")
    _full_batch_solvers = ("gd",)

    _default_batch_size = 256

    _parameter_constraints: ClassVar[dict] = {
        "alpha": [Interval(Real, 0, None, closed="left")],
        "solver": [StrOptions({"sgd", "gd", "lbfgs", "random_search", "random_local_search"})],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "learning_rate": [StrOptions({"constant", "step", "cosine", "invscaling"})],
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "nesterov": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "warm_start": ["boolean"],
        "fit_intercept": ["boolean"],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "shuffle": ["boolean"],
        "random_state": ["random_state", Generator],
        "decay_factor": [Interval(Real, 0, 1, closed="right")],
        "decay_every": [Interval(Integral, 1, None, closed="left")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        alpha: float = 1e-4,
        *,
        solver: Literal["gd", "lbfgs", "random_local_search", "random_search", "sgd"] = "sgd",
        batch_size: int = 256,
        learning_rate_init: float = 1e-3,
        learning_rate: Literal["constant", "cosine", "invscaling", "step"] = "constant",
        momentum: float = 0.9,
        nesterov: bool = True,
        max_iter: int = 200,
        tol: float | None = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        fit_intercept: bool = True,
        class_weight: Literal["balanced"] | dict[Any, Any] | None = None,
        shuffle: bool = True,
        random_state: int | RandomState | Generator | None = None,
        decay_factor: float = 0.5,
        decay_every: int = 10,
        power_t: float = 0.5,
        verbose: bool | int = False,
        n_jobs: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.solver = solver
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterov = nesterov
        self.max_iter = max_iter
        self.tol = tol
        self.n_iter_no_change = n_iter_no_change
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.fit_intercept = fit_intercept
        self.class_weight = class_weight
        self.shuffle = shuffle
        self.random_state = random_state
        self.decay_factor = decay_factor
        self.decay_every = decay_every
        self.power_t = power_t
        self.verbose = verbose
        self.n_jobs = n_jobs

    # ---- data ------------------------------------------------------------------------------------

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Learn the weights from rows and their classes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            float32, float64 and uint8 are taken as they are; others become float64.
        y : array-like of shape (n_samples,)
            Classes: integers, strings, or anything that sorts.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts in the loss, as if it were there so many times, and in
            accuracies. At least 0; those of `class_weight` are factors of them.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For NaN or infinity, a single class, `y` that holds no classes, parameters out of range;
            with `warm_start`, for other features or classes than before.
        """
        with self._undone_on_error():
            self._fit(X, y, sample_weight)
        return self

    def _fit(self, X, y, sample_weight):
        goes_on = self.warm_start and hasattr(self, "coef_")
        X, y = self._check_rows_and_classes(X, y, reset=not goes_on)
        classes, labels = self._find_classes(y, goes_on)
        if not goes_on:
            self._start(X, classes)
        if not self.fit_intercept:
            self.intercept_ = np.zeros_like(self.intercept_)
        self.n_iter_ = 0
        given = _validation.check_sample_weight(sample_weight, len(X))
        self._weigh_classes(labels, given)
        weights = self._weights_of_rows(labels, given)
        weights = None if weights is None else weights / weights.mean()
        # What overflows is noticed by its loss.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.solver in self._epoch_solvers:
                self._descend(self._model(X, labels, weights), X, labels, given)
            elif self.solver == "lbfgs":
                self._minimize(
                    lambda rows: self._model(rows, labels, weights), X, 100 * self.max_iter
                )
            else:
                self._search(self._model(X, labels, weights), len(X))

    @available_if(_uses_sgd)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go on learning with one epoch over some rows.

        Momentum and random order go on where the call before left them. The first call over bytes
        settles their mean and scale.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        classes : array-like of shape (n_classes,), optional
            All classes that will ever come; needed in the first call.
        sample_weight : array-like of shape (n_samples,), optional
            If all are 0, nothing is learned.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As `fit` does; for classes that were not announced; with `early_stopping` or
            ``class_weight="balanced"``, which need all rows.
        """
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported by partial_fit: compute the weights of "
                "all rows with sklearn.utils.compute_class_weight, and pass them as a dict"
            )
        return self._fit_one_epoch(X, y, classes, sample_weight)

    def _weigh_classes(self, labels, sample_weight=None):
        """Settle what the rows of each class count."""
        self._weights_of_classes = None
        if self.class_weight is None:
            return
        if self.class_weight == "balanced":
            counts = np.bincount(labels, sample_weight, len(self.classes_))
            shares = np.count_nonzero(counts) * counts / counts.sum()
            weights = np.divide(1.0, shares, out=np.zeros_like(shares), where=shares > 0.0)
        else:
            weights = compute_class_weight(
                self.class_weight, classes=self.classes_, y=self.classes_[labels]
            )
        of_rows = weights[labels]
        if not (np.isfinite(weights).all() and (weights >= 0).all() and of_rows.any()):
            raise ValueError(
                "class_weight must hold finite numbers of at least 0, not all of them 0, got "
                f"{self.class_weight}"
            )
        self._weights_of_classes = weights.astype(np.float64)

    def _weights_of_rows(self, labels, sample_weight=None):
        if self._weights_of_classes is None:
            return sample_weight
        weights = self._weights_of_classes[labels]
        return weights if sample_weight is None else weights * sample_weight

    # ---- weights ---------------------------------------------------------------------------------

    def _start(self, X, classes):
        self.classes_ = classes
        self._mean, self._scale = None, None
        if X.dtype == np.uint8:
            self._mean, scale = mean_and_scale(X, centered=self.fit_intercept)
            self._scale = np.full(X.shape[1], scale)
        n_rows = 1 if len(classes) == 2 else len(classes)
        dtype = np.float32 if X.dtype == np.float32 else np.float64
        self.coef_ = np.zeros((n_rows, X.shape[1]), dtype)
        self.intercept_ = np.zeros(n_rows, dtype)
        self._random_state = _validation.check_random_state(self.random_state)
        self._start_curves()

    def _as_lists(self, parts):
        return [[part] for part in parts]

    def _from_lists(self, parts):
        return [part for (part,) in parts]

    def _is_binary(self):
        return len(self.classes_) == 2

    def _model(self, X, labels, weights_of_rows=None):
        # Of two classes, each row of the model has half of the weights: alpha / 2 |w|² is then
        # twice alpha / 2 (|-w / 2|² + |w / 2|²).
        model = LinearModel(
            X,
            len(self.classes_),
            labels,
            self._loss,
            MARGIN,
            self.alpha * (2.0 if self._is_binary() else 1.0),
            weights_of_rows,
            self._mean,
            self._scale,
            with_bias=self.fit_intercept,
            n_threads=effective_n_threads(self.n_jobs),
        )
        model.set_weights(*([part] for part in self._model_weights()))
        self._restore_moments(model)
        return model

    def _model_for_one_epoch(self, X, labels, sample_weight):
        self._weigh_classes(labels)
        given = _validation.check_sample_weight(sample_weight, len(X))
        return self._model(X, labels, self._weights_of_rows(labels, given))

    def _model_weights(self):
        """Return weights of shape (n_classes, n_features) and offsets for the scaled rows."""
        W, offsets = self.coef_, self.intercept_.astype(np.float64)
        if self._scale is not None:
            offsets = offsets + (W * self._mean).sum(axis=1)
            W = W / self._scale
        return (_in_two_rows(W), _in_two_rows(offsets)) if self._is_binary() else (W, offsets)

    def _keep(self, W, offsets):
        """Take over what `_model_weights` returns."""
        if self._is_binary():
            W, offsets = W[1:] - W[:1], offsets[1:] - offsets[:1]
        if self._scale is not None:
            W = W * self._scale
            offsets = offsets - (W * self._mean).sum(axis=1)
        self.coef_, self.intercept_ = W.astype(self.coef_.dtype), offsets.astype(self.coef_.dtype)

    def _train_epoch(self, model, order, batch_size, epoch, progress):
        rates = self._step_sizes(epoch, len(order), batch_size)
        return model.train(order, batch_size, rates, self.momentum, self.nesterov, None, progress)[0]

    def _step_sizes(self, epoch, n_rows, batch_size):
        """Return the step size of each batch."""
        epochs = epoch + np.arange(0, n_rows, batch_size) / n_rows
        if self.learning_rate == "step":
            factors = self.decay_factor ** (epochs // self.decay_every)
        elif self.learning_rate == "cosine":
            factors = 0.5 + 0.5 * np.cos(np.pi * np.minimum(epochs / self.max_iter, 1.0))
        elif self.learning_rate == "invscaling":
            factors = np.full_like(epochs, (self.t_ + 1.0) ** -self.power_t)
        else:
            factors = np.ones_like(epochs)
        # The two rows of a binary model move in opposite directions, and w by their difference.
        return factors * self.learning_rate_init * (0.5 if self._is_binary() else 1.0)

    # ---- other solvers ---------------------------------------------------------------------------

    def _pack_gradients(self, gradient, of_offsets):
        if self._is_binary():
            gradient, of_offsets = (0.5 * (g[1:] - g[:1]) for g in (gradient, of_offsets))
        return self._pack(gradient, of_offsets)

    def _search(self, model, n_rows):
        def loss(parameters):
            model.set_weights(*([part] for part in self._unpack(parameters)))
            self.t_ += n_rows
            return model.loss_and_gradient(with_gradient=False)[0]

        def after_trial(intermediate_result):
            self._keep(*self._unpack(intermediate_result.x))
            self._advance(bar, intermediate_result.fun)

        start = self._pack_start()
        with self._progress_bar(self.max_iter, "trial") as bar:
            getattr(optimize, self.solver)(
                loss,
                start,
                step_size=self.learning_rate_init,
                n_trials=self.max_iter,
                random_state=self._random_state,
                callback=after_trial,
            )

    def _pack_start(self):
        W, offsets = self._model_weights()
        if self._is_binary():
            W, offsets = W[1:] - W[:1], offsets[1:] - offsets[:1]
        return self._pack(W, offsets)

    def _pack(self, W, offsets):
        """Return what the solver moves as a line of float64: a single row for two classes."""
        parts = [W.ravel(), offsets] if self.fit_intercept else [W.ravel()]
        return np.concatenate(parts, dtype=np.float64)

    def _unpack(self, parameters):
        """Return weights and offsets for the model."""
        n_rows, d = self.coef_.shape
        W = parameters[: n_rows * d].reshape(n_rows, d)
        offsets = parameters[n_rows * d :] if self.fit_intercept else np.zeros(n_rows)
        return (_in_two_rows(W), _in_two_rows(offsets)) if n_rows == 1 else (W, offsets)

    # ---- prediction ------------------------------------------------------------------------------

    def decision_function(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return the scores of each class, or for two classes how much the second one's is higher.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), or (n_samples,) for two classes
            float64 where `X` is, else float32.

        Raises
        ------
        ValueError
            For NaN or infinity, or another number of features than in `fit`.
        """
        check_is_fitted(self)
        X = validate_data(
            self,
            _validation.as_array(X),
            dtype=DTYPES,
            order="C",
            ensure_all_finite=False,
            reset=False,
        )
        n_rows = self.coef_.shape[0]
        model = LinearModel(X, n_rows, n_threads=effective_n_threads(self.n_jobs))
        model.set_weights([self.coef_], [self.intercept_])
        scores = model.scores()
        if not np.isfinite(scores).all():
            assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")
        return scores.ravel() if n_rows == 1 else scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of the highest score for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        scores = self.decision_function(X)
        return self.classes_[scores.argmax(axis=1) if scores.ndim == 2 else (scores > 0).view("i1")]

    def _loss_arguments(self, X, y):
        """Return the training loss at the weights as arguments for `losses.losses_on_plane`.

        But for the penalty: `l2` is for the weights without the last column.
        """
        check_is_fitted(self)
        X, y = validate_data(self, _validation.as_array(X), y, dtype=DTYPES, order="C", reset=False)
        labels = self._labels_of(y)
        return {
            "W": np.column_stack(self._model_weights()),
            "X": X,
            "y": labels,
            "loss": self._loss,
            "l2": self.alpha * (2.0 if self._is_binary() else 1.0),
            "bias": True,
            "margin": MARGIN,
            "mean": self._mean,
            "scale": self._scale,
            "sample_weight": self._weights_of_rows(labels),
            "n_jobs": self.n_jobs,
        }


def _in_two_rows(row):
    """Return -row / 2 and row / 2: two classes whose scores differ by the row's."""
    return np.concatenate([-0.5 * row, 0.5 * row])


class SVMClassifier(_LinearClassifier):
    __doc__ = _document(
        summary="Linear classifier with the multiclass hinge loss of Weston and Watkins.",
        loss_of_row="the sum over the wrong classes j of max(0, s_j - s_y + 1)",
        two_classes="""Of two classes there is one row of weights w, and the loss of a row is the
    binary hinge, max(0, 1 - t (w . x + b)) with t = -1 or 1.""",
        more="""
    See Also
    --------
    SoftmaxClassifier : The same with the cross-entropy loss.
    fastnn.losses.svm_loss

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastnn.linear_model import SVMClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SVMClassifier(max_iter=50, tol=None, random_state=0).fit(X / 16, y)
    >>> model.score(X / 16, y) > 0.9
    True
    """,
    )

    _loss = "svm"


class SoftmaxClassifier(_LinearClassifier):
    __doc__ = _document(
        summary="Linear classifier with the softmax (cross-entropy, multinomial logistic) loss.",
        loss_of_row="log(sum over j of exp(s_j)) - s_y",
        two_classes="""Of two classes there is one row of weights w: a neuron with the sigmoid
    activation, whose output 1 / (1 + exp(-(w . x + b))) is the probability of the second class, and
    whose loss is the binary cross-entropy. Softmax of the scores (-z / 2, z / 2) is the same
    function.""",
        more="""
    See Also
    --------
    SVMClassifier : The same with the multiclass hinge loss.
    fastnn.losses.softmax_loss

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastnn.linear_model import SoftmaxClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = SoftmaxClassifier(solver="lbfgs").fit(X / 16, y)
    >>> model.score(X / 16, y) > 0.95
    True

    A single neuron with the sigmoid activation, as an AND gate:

    >>> import numpy as np
    >>> X, y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), [0, 0, 0, 1]
    >>> neuron = SoftmaxClassifier(solver="lbfgs").fit(X, y)
    >>> sigmoid = 1 / (1 + np.exp(-(X @ neuron.coef_[0] + neuron.intercept_)))
    >>> np.allclose(neuron.predict_proba(X)[:, 1], sigmoid), neuron.predict(X)
    (True, array([0, 0, 0, 1]))
    """,
    )

    _loss = "softmax"

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
        return log_softmax(scores, axis=1)

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the probability of each class: the softmax of the scores.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes), float64
            Rows sum to 1.
        """
        return np.exp(self.predict_log_proba(X))
