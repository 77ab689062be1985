"""A network of fully connected layers, trained by back-propagation in compiled code.

The way of the data is in `_core/training/_network`; what it shares with linear classifiers in
`_training`.
"""

import itertools
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_softmax
from sklearn.utils.validation import assert_all_finite, check_is_fitted, validate_data

from . import _validation
from ._core._threads import effective_n_threads
from ._core.training._network import Network
from ._sklearn.private import Interval, Options, StrOptions, available_if, fit_context
from ._training import DTYPES, TrainedClassifier, mean_and_scale

__all__ = ["MLPClassifier"]

AUTO_BATCH_SIZE = 200
# What "adaptive" divides the step size by, and where it ends.
ADAPTIVE_FACTOR, SMALLEST_STEP = 5.0, 1e-6


def _uses_epochs(estimator):
    if estimator.solver not in estimator._epoch_solvers:
        raise AttributeError(
            f"partial_fit is of solver='sgd' and 'adam' only, got solver={estimator.solver}"
        )
    return True


def _gives_probabilities(estimator):
    if estimator.loss != "softmax":
        raise AttributeError(f"probabilities are of loss='softmax' only, got {estimator.loss!r}")
    return True


class MLPClassifier(TrainedClassifier):
    """Multi-layer perceptron: fully connected layers, and a linear classifier on top of them.

    The scores of two layers are s = W2 f(W1 x + b1) + b2 with the activation f. The loss of a batch
    is the mean of its rows' losses plus alpha / 2 times the sum of the squares of all weights,
    divided by the number of its rows. Parameters and attributes are those of
    `sklearn.neural_network.MLPClassifier`, and some more.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default=(100,)
        Units of the hidden layers. Empty: a linear classifier.
    activation : {"relu", "tanh", "logistic", "identity"}, default="relu"
        Of the hidden layers: max(0, x), tanh(x), 1 / (1 + exp(-x)) or x. The slope of "relu" at 0
        is 0.
    solver : {"adam", "sgd", "lbfgs"}, default="adam"
        Adam (Kingma and Ba, 2014), gradient descent by mini-batches, or SciPy's L-BFGS-B on all
        rows.
    alpha : float, default=1e-4
        Strength of the L2 penalty. Intercepts are free of it.
    batch_size : int or "auto", default="auto"
        Rows of a mini-batch; "auto": 200. More than there are: a warning, and all of them.
    learning_rate : {"constant", "invscaling", "adaptive"}, default="constant"
        Step size of "sgd": `learning_rate_init`; that divided by ``(t + 1) ** power_t`` after t
        rows, from epoch to epoch; or divided by 5 each time the loss stops falling.
    learning_rate_init : float, default=1e-3
        Step size of "sgd" and "adam".
    power_t : float, default=0.5
    max_iter : int, default=200
        Epochs, or iterations of L-BFGS.
    shuffle : bool, default=True
        Whether each epoch visits the rows in a new order.
    random_state : int, RandomState, Generator or None, default=None
        Of the first weights, the order, the rows set aside and dropout.
    tol : float or None, default=1e-4
        Training ends when the loss (with `early_stopping`, the validation accuracy) has not
        improved by it for more than `n_iter_no_change` epochs; "lbfgs" when no derivative exceeds
        it. None: not before `max_iter`, and without a warning then.
    verbose : bool, default=False
        Whether to show a progress bar with the loss.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights of the fit before.
    momentum : float, default=0.9
        Of "sgd", in [0, 1].
    nesterovs_momentum : bool, default=True
    early_stopping : bool, default=False
        Whether to set rows aside, measure the accuracy on them after each epoch, and keep the
        weights that did best.
    validation_fraction : float, default=0.1
        Part of the rows that is set aside, with the same share of each class where there are rows
        enough.
    beta_1, beta_2 : float, default=0.9, 0.999
        How much "adam" keeps of the means of gradients and of their squares.
    epsilon : float, default=1e-8
        Of "adam".
    n_iter_no_change : int or inf, default=10
    max_fun : int, default=15000
        Evaluations of the loss by "lbfgs", at most.
    loss : {"softmax", "svm"}, default="softmax"
        Cross-entropy, or the multiclass hinge loss of Weston and Watkins.
    dropout : float, default=0.0
        Share of the hidden units that "sgd" and "adam" silence for each row; the others are scaled
        up, so that predictions need no change.
    n_jobs : int or None, default=None
        Threads, as in scikit-learn; None: all the cores that this process may use. Results do not
        depend on it.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    coefs_ : list of ndarray of shape (units before, units)
        float64 for float64 and uint8 data, else float32.
    intercepts_ : list of ndarray of shape (units,)
    loss_ : float
    best_loss_ : float, or None with `early_stopping`
    loss_curve_ : list of float
        Loss with the penalty: over each epoch, while the weights move; or after each iteration.
    history_ : dict of lists
        "loss" and, but for "lbfgs", "accuracy" of each epoch, on the rows as they are trained with
        (dropout included); with `early_stopping` "val_accuracy". Where training goes on in another
        way, NaN for what was not measured.
    validation_scores_ : list of float, or None
        Accuracy on the rows set aside, after each epoch of the last `fit`.
    best_validation_score_ : float, or None
        The highest of them.
    n_iter_ : int
        Epochs or iterations of the last `fit` and of calls to `partial_fit` since.
    t_ : int
        Rows that the loss has been evaluated for.
    n_layers_ : int
        With the input.
    n_outputs_ : int
        As many as classes, also where there are two.
    out_activation_ : str
        "softmax", or "identity" for the SVM's loss.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Where `X` has names that are strings.

    Notes
    -----
    Weights start uniform within +-sqrt(6 / units before) for "relu" (He et al., 2015), within
    +-sqrt(6 / (units before + units)) for "tanh" and "identity" and +-sqrt(2 / (...)) for
    "logistic" (Glorot and Bengio, 2010); intercepts at zero.

    uint8 data are not converted: the kernels read bytes, and meet them as (x - mean) / scale, with
    the mean of each feature and one scale from some rows. The penalty and the step size are in
    these units; `coefs_` and `intercepts_` are for the bytes themselves.

    If the loss overflows, training ends with a ConvergenceWarning and the weights of the last epoch
    that ended well. Ctrl-C leaves the weights of the last full batch; with `early_stopping`, once
    an epoch was measured, those that did best.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastnn.neural_network import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(32, max_iter=20, tol=None, random_state=0)
    >>> model.fit(X / 16, y).score(X / 16, y) > 0.9
    True
    """

    coefs_: list[NDArray[np.floating]]
    intercepts_: list[NDArray[np.floating]]
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    loss_: float
    best_loss_: float | None
    history_: dict[str, list[float]]

    _epoch_solvers = ("sgd", "adam")

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"relu", "tanh", "logistic", "identity"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state", Generator],
        "tol": [Interval(Real, 0, None, closed="left"), None],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"softmax", "svm"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        hidden_layer_sizes: ArrayLike = (100,),
        activation: Literal["identity", "logistic", "relu", "tanh"] = "relu",
        *,
        solver: Literal["adam", "lbfgs", "sgd"] = "adam",
        alpha: float = 1e-4,
        batch_size: Literal["auto"] | int = "auto",
        learning_rate: Literal["adaptive", "constant", "invscaling"] = "constant",
        learning_rate_init: float = 1e-3,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | RandomState | Generator | None = None,
        tol: float | None = 1e-4,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Literal["softmax", "svm"] = "softmax",
        dropout: float = 0.0,
        n_jobs: int | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.loss = loss
        self.dropout = dropout
        self.n_jobs = n_jobs

    # ---- training --------------------------------------------------------------------------------

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
            accuracies. At least 0.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            For NaN or infinity, a single class, `y` that holds no classes, parameters out of range;
            with `warm_start`, for other features, classes or layers than before; with
            `early_stopping`, for too few rows to set some aside.
        """
        with self._undone_on_error():
            self._fit(X, y, sample_weight)
        return self

    def _fit(self, X, y, sample_weight):
        goes_on = self.warm_start and hasattr(self, "coefs_")
        X, y = self._check_rows_and_classes(X, y, reset=not goes_on)
        classes, labels = self._find_classes(y, goes_on)
        if not goes_on:
            self._start(X, classes)
        self._require_same_layers()
        self.n_iter_ = 0
        self._step_size = self.learning_rate_init
        weights, alpha = self._weigh(len(X), sample_weight)
        # What overflows is noticed by its loss.
        with np.errstate(over="ignore", invalid="ignore"):
            if self.solver in self._epoch_solvers:
                self._descend(self._model(X, labels, weights, alpha), X, labels, weights)
            else:
                self._minimize(
                    lambda rows: self._model(rows, labels, weights, alpha), X, self.max_fun
                )

    @available_if(_uses_epochs)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Go on learning with one epoch over some rows.

        What the optimizer remembers and the random order go on where the call before left them. The
        first call over bytes settles their mean and scale.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,)
        sample_weight : array-like of shape (n_samples,), optional
        classes : array-like of shape (n_classes,), optional
            All classes that will ever come; needed in the first call.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As `fit` does; for classes that were not announced; with `early_stopping`.
        """
        if self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        return self._fit_one_epoch(X, y, classes, sample_weight)

    def _sizes(self):
        """Return the units of all layers, the input's and the classes' among them."""
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist()
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be whole numbers > 0, got {sizes}")
        return [self.n_features_in_, *sizes, len(self.classes_)]

    def _start(self, X, classes):
        self.classes_ = classes
        self._mean, self._scale = None, 1.0
        if X.dtype == np.uint8:
            self._mean, self._scale = mean_and_scale(X, centered=True)
        self._random_state = _validation.check_random_state(self.random_state)
        self._dtype = np.float32 if X.dtype == np.float32 else np.float64
        sizes = self._sizes()
        pairs = list(itertools.pairwise(sizes))
        self._keep([self._first_weights(*pair) for pair in pairs], [np.zeros(n) for _, n in pairs])
        self.n_layers_, self.n_outputs_ = len(sizes), sizes[-1]
        self._start_curves()
        self._step_size = self.learning_rate_init
        self.loss_, self.best_loss_ = np.nan, None
        self.history_ = {"loss": self.loss_curve_}

    def _first_weights(self, n_in, n_out):
        squares = {"relu": 6.0 / n_in, "logistic": 2.0 / (n_in + n_out)}
        bound = np.sqrt(squares.get(self.activation, 6.0 / (n_in + n_out)))
        return self._random_state.uniform(-bound, bound, (n_in, n_out))

    def _sizes_before(self):
        return [self.coefs_[0].shape[0], *(coef.shape[1] for coef in self.coefs_)]

    def _require_same_layers(self):
        if self._sizes() != self._sizes_before():
            raise ValueError(
                "training can only go on with the layers as they are: hidden_layer_sizes now makes "
                f"{self._sizes()} units, before it were {self._sizes_before()}"
            )

    def _weigh(self, n_rows, sample_weight):
        """Return weights with the mean 1, and alpha for them: it is divided by their own sum."""
        weights = _validation.check_sample_weight(sample_weight, n_rows)
        if weights is None:
            return None, self.alpha
        with np.errstate(over="ignore"):
            return weights, self.alpha / np.asarray(sample_weight, np.float64).mean()

    def _model(self, X, labels, weights=None, alpha=0.0):
        model = Network(
            X,
            self._sizes_before(),
            labels,
            self.loss,
            self.activation,
            alpha,
            self.dropout if self.solver in self._epoch_solvers else 0.0,
            self._random_state.randint(2**31) if labels is not None and self.dropout else 0,
            self._mean,
            self._scale,
            weights,
            effective_n_threads(self.n_jobs),
        )
        model.set_weights(*self._model_weights())
        if labels is not None:
            self._restore_moments(model)
        return model

    def _model_for_one_epoch(self, X, labels, sample_weight):
        self._require_same_layers()
        return self._model(X, labels, *self._weigh(len(X), sample_weight))

    def _model_weights(self):
        """Return weights and offsets for the rows as they are scaled."""
        if self._mean is None:
            return self.coefs_, self.intercepts_
        first = self.coefs_[0] / self._scale
        offsets = self.intercepts_[0] + (self._mean[:, None] * self.coefs_[0]).sum(axis=0)
        return [first, *self.coefs_[1:]], [offsets, *self.intercepts_[1:]]

    def _keep(self, weights, offsets):
        """Take over what `_model_weights` returns."""
        self.out_activation_ = "softmax" if self.loss == "softmax" else "identity"
        weights, offsets = list(weights), list(offsets)
        if self._mean is not None:
            weights[0] = weights[0].astype(np.float64) * self._scale
            offsets[0] = offsets[0] - (self._mean[:, None] * weights[0]).sum(axis=0)
        self.coefs_ = [part.astype(self._dtype, copy=False) for part in weights]
        self.intercepts_ = [part.astype(self._dtype, copy=False) for part in offsets]

    def _batch_size(self):
        return AUTO_BATCH_SIZE if self.batch_size == "auto" else self.batch_size

    def _train_epoch(self, model, order, batch_size, epoch, progress):
        adam = (self.beta_1, self.beta_2, self.epsilon) if self.solver == "adam" else None
        rate = self._step_size
        if self.solver == "sgd" and self.learning_rate == "invscaling":
            rate = self.learning_rate_init / (self.t_ + 1.0) ** self.power_t
        rates = np.full(-(-len(order) // batch_size), float(rate))
        loss, accuracy = model.train(
            order, batch_size, rates, self.momentum, self.nesterovs_momentum, adam, progress
        )
        self._accuracy = accuracy
        return loss

    def _note(self, loss):
        super()._note(loss)
        self.loss_ = loss
        if self.early_stopping:
            self.best_loss_ = None
        elif self.best_loss_ is None or loss < self.best_loss_:
            self.best_loss_ = loss
        if self.solver in self._epoch_solvers:
            self.history_.setdefault("accuracy", [])
        self._fill_up_history()
        if self.solver in self._epoch_solvers:
            self.history_["accuracy"][-1] = self._accuracy

    def _note_validation(self, score):
        super()._note_validation(score)
        self.history_.setdefault("val_accuracy", [])
        self._fill_up_history()
        self.history_["val_accuracy"][-1] = score

    def _fill_up_history(self):
        """Let all curves be as long as the loss's: what was not measured is NaN."""
        for curve in self.history_.values():
            curve += [np.nan] * (len(self.loss_curve_) - len(curve))

    def _goes_on_slower(self, patience):
        if self.solver != "sgd" or self.learning_rate != "adaptive":
            return False
        if self._step_size <= SMALLEST_STEP:
            return False
        self._step_size /= ADAPTIVE_FACTOR
        patience.waited = 0
        return True

    def _pack(self, weights, offsets):
        """Return what L-BFGS moves as a line of float64."""
        parts = [*(part.ravel() for part in weights), *offsets]
        return np.concatenate(parts, dtype=np.float64)

    _pack_gradients = _pack

    def _pack_start(self):
        return self._pack(*self._model_weights())

    def _unpack(self, line):
        shapes = [coef.shape for coef in self.coefs_]
        counts = [a * b for a, b in shapes] + [b for _, b in shapes]
        parts = np.split(line, np.cumsum(counts)[:-1])
        weights = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=False)]
        return weights, parts[len(shapes) :]

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
        scores = self._scores(X)
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def _scores(self, X):
        check_is_fitted(self)
        X = validate_data(
            self,
            _validation.as_array(X),
            dtype=DTYPES,
            order="C",
            ensure_all_finite=False,
            reset=False,
        )
        model = self._model(X, None)
        with np.errstate(over="ignore", invalid="ignore"):
            scores = model.scores()
        if model.has_overflowed:
            assert_all_finite(X, estimator_name=type(self).__name__, input_name="X")
        return scores

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the class of the highest score for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        winners = self._scores(X).argmax(axis=1)
        return self.classes_[winners]

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
        return log_softmax(self._scores(X).astype(np.float64, copy=False), axis=1)

    @available_if(_gives_probabilities)
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
