"""Networks of fully connected layers, trained by back-propagation in compiled code.

The way of the data is in `_core/training/_network`; what they share with linear classifiers in
`_training`.
"""

from __future__ import annotations

import itertools
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score

from ._core._threads import effective_n_threads
from ._core.training._network import Network
from ._sklearn.private import Interval, StrOptions, available_if, fit_context
from ._training.estimators import TrainedClassifier, TrainedEstimator
from ._training.parameters import (
    CLASS_WEIGHT,
    CONSTRAINTS,
    OF_CLASSIFIERS,
    OF_REGRESSORS,
    document,
)
from ._training.targets import Numbers, check_numbers

__all__ = ["MLPClassifier", "MLPRegressor"]

_NOTES = """Weights start uniform within +-sqrt(6 / units before) for "relu" (He et al.,
    2015), within +-sqrt(6 / (units before + units)) for "tanh" and "identity" and +-sqrt(2 / (...))
    for "logistic" (Glorot and Bengio, 2010); intercepts at zero.

    uint8 data are not converted: the kernels read bytes as (x - mean) / scale, with
    the mean of each feature and one scale from some rows. The penalty and the step size are in
    these units; `coefs_` and `intercepts_` are for the bytes themselves.

    If the loss overflows, training ends with a ConvergenceWarning and the weights of the last epoch
    that ended well. Ctrl-C leaves the weights of the last full batch; with `early_stopping`, once
    an epoch was measured, those that did best."""

_PARAMETERS = {
    "hidden_layer_sizes": """array-like of int, default=(100,)
        Units of the hidden layers. Empty: a linear model.""",
    "activation": """{"relu", "tanh", "logistic", "identity"}, default="relu"
        Of the hidden layers: max(0, x), tanh(x), 1 / (1 + exp(-x)) or x. The derivative of "relu"
        at 0 is 0.""",
    "solver": """{"adam", "sgd", "lbfgs"}, default="adam"
        Adam (Kingma and Ba, 2014), gradient descent by mini-batches, or SciPy's L-BFGS-B on all
        rows.""",
    "alpha": None,
    "batch_size": None,
    "learning_rate": None,
    "learning_rate_init": None,
    "power_t": None,
    "max_iter": None,
    "shuffle": None,
    "random_state": None,
    "tol": None,
    "verbose": None,
    "warm_start": None,
    "momentum": None,
    "nesterovs_momentum": None,
    "early_stopping": None,
    "validation_fraction": None,
    "beta_1": None,
    "beta_2": None,
    "epsilon": None,
    "n_iter_no_change": None,
    "max_fun": None,
    "decay_factor": None,
    "decay_every": None,
    "dropout": """float, default=0.0
        Probability with which "sgd" and "adam" set a hidden unit to zero for a row; the others are
        scaled up, so that predictions need no change.""",
    "n_jobs": None,
}
_WORDS = {
    "auto_batch_size": 200,
    "steps": '"sgd" and "adam"',
    "iterations": "Epochs, or iterations of L-BFGS",
    "seeds": "initialization, shuffling, the validation split and dropout",
}
_ATTRIBUTES = {
    "coefs_": """list of ndarray of shape (units before, units)
        float64 for float64 and uint8 data, else float32.""",
    "intercepts_": "list of ndarray of shape (units,)",
    **dict.fromkeys(
        [
            "loss_", "best_loss_", "loss_curve_", "history_", "validation_scores_",
            "best_validation_score_", "n_iter_", "t_",
        ]
    ),
    "n_layers_": """int
        With the input.""",
    "n_features_in_": None,
    "feature_names_in_": None,
}  # fmt: skip


def _uses_epochs(estimator):
    if estimator.solver not in estimator._epoch_solvers:
        raise AttributeError(
            "partial_fit is only available when solver='sgd' or 'adam', got "
            f"solver={estimator.solver}"
        )
    return True


class _MultiLayerPerceptron(TrainedEstimator):
    """The layers: their first weights, and what they are in a compiled network."""

    coefs_: list[NDArray[np.floating]]
    intercepts_: list[NDArray[np.floating]]
    n_layers_: int
    n_outputs_: int
    out_activation_: str

    _auto_batch_size = 200

    _parameter_constraints: ClassVar[dict] = {
        **CONSTRAINTS,
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions({"relu", "tanh", "logistic", "identity"})],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def _find_sizes(self):
        """Return the units of all layers, the input's and the outputs among them."""
        sizes = self.hidden_layer_sizes
        sizes = sizes.tolist() if isinstance(sizes, np.ndarray) else sizes
        sizes = [sizes] if isinstance(sizes, Integral) else list(sizes)
        if not all(
            isinstance(size, Integral) and not isinstance(size, bool) and size > 0 for size in sizes
        ):
            raise ValueError(f"hidden_layer_sizes must be whole numbers > 0, got {sizes}")
        sizes = [int(size) for size in sizes]
        return [self.n_features_in_, *sizes, self._targets.n_outputs]

    def _initialize(self):
        sizes = self._find_sizes()
        pairs = list(itertools.pairwise(sizes))
        self._keep([self._first_weights(*pair) for pair in pairs], [np.zeros(n) for _, n in pairs])
        self.n_layers_, self.n_outputs_ = len(sizes), sizes[-1]

    def _first_weights(self, n_in, n_out):
        squares = {"relu": 6.0 / n_in, "logistic": 2.0 / (n_in + n_out)}
        bound = np.sqrt(squares.get(self.activation, 6.0 / (n_in + n_out)))
        return self._random_state.uniform(-bound, bound, (n_in, n_out))

    def _sizes_of_weights(self):
        return [self.coefs_[0].shape[0], *(coef.shape[1] for coef in self.coefs_)]

    def _prepare_training(self):
        if self._find_sizes() != self._sizes_of_weights():
            raise ValueError(
                "training can only go on with the layers as they are: hidden_layer_sizes now makes "
                f"{self._find_sizes()} units, previously {self._sizes_of_weights()}"
            )

    def _alpha_for(self, sample_weight):
        # Models get weights with the mean 1, and divide the penalty by their sum.
        if sample_weight is None:
            return self.alpha
        return self.alpha / np.asarray(sample_weight, np.float64).mean()

    def _make_model(self, X, y, sample_weight, alpha):
        drops = y is not None and self.dropout and self.solver in self._epoch_solvers
        model = Network(
            X,
            self._sizes_of_weights(),
            y,
            self._find_loss(),
            self.activation,
            alpha,
            self.dropout if drops else 0.0,
            self._random_state.randint(2**31) if drops else 0,
            self._mean,
            self._scale,
            sample_weight,
            effective_n_threads(self.n_jobs),
        )
        model.set_weights(*self._model_weights())
        return model

    def _model_weights(self):
        """Return weights and biases for the rows as they are scaled."""
        if self._mean is None:
            return self.coefs_, self.intercepts_
        first = self.coefs_[0] / self._scale
        bias = self.intercepts_[0] + (self._mean[:, None] * self.coefs_[0]).sum(axis=0)
        return [first, *self.coefs_[1:]], [bias, *self.intercepts_[1:]]

    def _keep(self, weights, biases):
        """Take over what `_model_weights` returns."""
        self.out_activation_ = self._find_out_activation()
        weights, biases = list(weights), list(biases)
        if self._mean is not None:
            weights[0] = weights[0].astype(np.float64) * self._scale
            biases[0] = biases[0] - (self._mean[:, None] * weights[0]).sum(axis=0)
        self.coefs_ = [part.astype(self._dtype, copy=False) for part in weights]
        self.intercepts_ = [part.astype(self._dtype, copy=False) for part in biases]

    def _score_rows(self, X):
        model = self._make_model(X, None, None, 0.0)
        return model.scores(), not model.has_overflowed


class MLPClassifier(TrainedClassifier, _MultiLayerPerceptron):
    __doc__ = document(
        f"""Multi-layer perceptron: fully connected layers, and a linear classifier on top of them.

    The scores of two layers are s = W2 f(W1 x + b1) + b2 with the activation f. The loss of a batch
    is the mean of its rows' losses plus alpha / 2 times the sum of the squares of all weights,
    divided by the number of its rows. Parameters and attributes are those of
    `sklearn.neural_network.MLPClassifier`, and some more.

    With several labels a row, an indicator matrix of 0 and 1, the loss of a row is the sum of the
    binary cross-entropies of its labels.

    {{parameters}}

    {{attributes}}

    See Also
    --------
    MLPRegressor : The same for numbers.

    Notes
    -----
    {_NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from fastnn.neural_network import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> model = MLPClassifier(32, max_iter=20, tol=None, random_state=0)
    >>> model.fit(X / 16, y).score(X / 16, y) > 0.9
    True

    Several labels a row:

    >>> import numpy as np
    >>> labels = np.column_stack([y % 2 == 0, y > 4, y == 0])
    >>> model.fit(X / 16, labels).predict(X[:1] / 16)
    array([[1, 0, 1]])
    """,
        {
            **_PARAMETERS,
            "loss": """{"softmax", "svm"}, default="softmax"
        Cross-entropy, or the multiclass hinge loss of Weston and Watkins.""",
            "class_weight": None,
        },
        {
            "classes_": """ndarray of shape (n_classes,)
        With several labels a row, their numbers.""",
            **_ATTRIBUTES,
            "n_outputs_": """int
        As many as classes, also where there are two.""",
            "out_activation_": """str
        "softmax", "logistic" with several labels a row, or "identity" for the SVM's loss.""",
        },
        **_WORDS,
        **OF_CLASSIFIERS,
    )

    _takes_labels = True

    _parameter_constraints: ClassVar[dict] = {
        **_MultiLayerPerceptron._parameter_constraints,
        **CLASS_WEIGHT,
        "loss": [StrOptions({"softmax", "svm"})],
    }

    def __init__(
        self,
        hidden_layer_sizes: ArrayLike = (100,),
        activation: Literal["identity", "logistic", "relu", "tanh"] = "relu",
        *,
        solver: Literal["adam", "lbfgs", "sgd"] = "adam",
        alpha: float = 1e-4,
        batch_size: Literal["auto"] | int = "auto",
        learning_rate: Literal["adaptive", "constant", "cosine", "invscaling", "step"] = "constant",
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
        decay_factor: float = 0.5,
        decay_every: int = 10,
        loss: Literal["softmax", "svm"] = "softmax",
        class_weight: Literal["balanced"] | dict[Any, Any] | None = None,
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
        self.decay_factor = decay_factor
        self.decay_every = decay_every
        self.loss = loss
        self.class_weight = class_weight
        self.dropout = dropout
        self.n_jobs = n_jobs

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

        What the optimizer keeps and the random order go on where the previous call left them. The
        first call over bytes settles their mean and scale.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_labels)
        sample_weight : array-like of shape (n_samples,), optional
            If all are 0, nothing is learned.
        classes : array-like of shape (n_classes,), optional
            All classes that will ever come, or the numbers of the labels; needed in the first call.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As `fit` does; for classes that were not announced; with `early_stopping` or
            ``class_weight="balanced"``, which need all rows.
        """
        return self._fit_one_epoch(X, y, sample_weight, classes)

    def _find_loss(self):
        return "log_loss" if self._targets.is_multilabel else self.loss

    def _find_out_activation(self):
        if self._targets.is_multilabel:
            return "logistic"
        return "softmax" if self.loss == "softmax" else "identity"

    def _prepare_training(self):
        super()._prepare_training()
        if self._targets.is_multilabel and self.loss != "softmax":
            raise ValueError(
                f"several labels a row are learned with loss='softmax' only, got {self.loss!r}"
            )


class MLPRegressor(RegressorMixin, _MultiLayerPerceptron):
    __doc__ = document(
        f"""Multi-layer perceptron: fully connected layers whose outputs are numbers.

    The outputs of two layers are s = W2 f(W1 x + b1) + b2 with the activation f, or with the
    Poisson loss exp(s). The loss of a batch is the mean of its rows' losses plus alpha / 2 times
    the sum of the squares of all weights, divided by the number of its rows. Parameters and
    attributes are those of `sklearn.neural_network.MLPRegressor`, and some more.

    {{parameters}}

    {{attributes}}

    See Also
    --------
    MLPClassifier : The same for classes.

    Notes
    -----
    Of several outputs the losses are summed: that is the loss whose gradient scikit-learn takes,
    too, though the one that it tells is their mean.

    {_NOTES}

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from fastnn.neural_network import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(hidden_layer_sizes=8, solver="lbfgs", max_iter=50, tol=None)
    >>> model.fit(10 * X, y).score(10 * X, y) > 0.5
    True
    """,
        {
            "loss": """{"squared_error", "poisson"}, default="squared_error"
        Of an output s where t is wanted: (s - t)² / 2; or exp(s) - t s + t log t - t, half of the
        Poisson deviance, for t of at least 0.""",
            **_PARAMETERS,
        },
        {
            **_ATTRIBUTES,
            "n_outputs_": "int",
            "out_activation_": """str
        "identity", or "exp" for the Poisson loss.""",
        },
        **_WORDS,
        **OF_REGRESSORS,
    )

    _parameter_constraints: ClassVar[dict] = {
        **_MultiLayerPerceptron._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson"})],
    }

    def __init__(
        self,
        loss: Literal["poisson", "squared_error"] = "squared_error",
        hidden_layer_sizes: ArrayLike = (100,),
        activation: Literal["identity", "logistic", "relu", "tanh"] = "relu",
        *,
        solver: Literal["adam", "lbfgs", "sgd"] = "adam",
        alpha: float = 1e-4,
        batch_size: Literal["auto"] | int = "auto",
        learning_rate: Literal["adaptive", "constant", "cosine", "invscaling", "step"] = "constant",
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
        decay_factor: float = 0.5,
        decay_every: int = 10,
        dropout: float = 0.0,
        n_jobs: int | None = None,
    ) -> None:
        self.loss = loss
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
        self.decay_factor = decay_factor
        self.decay_every = decay_every
        self.dropout = dropout
        self.n_jobs = n_jobs

    @available_if(_uses_epochs)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Go on learning with one epoch over some rows.

        What the optimizer keeps and the random order go on where the previous call left them. The
        first call over bytes settles their mean and scale.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
        sample_weight : array-like of shape (n_samples,), optional
            If all are 0, nothing is learned.

        Returns
        -------
        self : object

        Raises
        ------
        ValueError
            As `fit` does; with `early_stopping`.
        """
        return self._fit_one_epoch(X, y, sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags

    # ---- targets ---------------------------------------------------------------------------------

    def _check_rows(self, X, y, reset):
        X, y = super()._check_rows(X, y, reset)
        return X, check_numbers(y, nonnegative=self.loss == "poisson")

    def _make_targets(self, y, announced=None):
        return Numbers(y)

    def _find_loss(self):
        return self.loss

    def _find_out_activation(self):
        return "exp" if self.loss == "poisson" else "identity"

    def _score_validation(self, scores, y, sample_weight):
        outputs = self._activate(scores)
        if not np.isfinite(outputs).all():
            return np.nan
        return r2_score(y, outputs, sample_weight=sample_weight)

    def _activate(self, scores):
        return np.exp(scores) if self.out_activation_ == "exp" else scores

    # ---- prediction ------------------------------------------------------------------------------

    def predict(self, X: ArrayLike) -> NDArray[np.floating]:
        """Return the outputs for each row.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,), or (n_samples, n_outputs) for several
            float64 where `X` is, else float32.

        Raises
        ------
        ValueError
            For NaN or infinity, or another number of features than in `fit`.
        """
        outputs = self._activate(self._scores(X))
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs
