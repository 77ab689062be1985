"""Linear classifiers with the multiclass SVM loss and with the softmax loss.

Both are one estimator with another loss: linear scores, their mean loss over the rows, and a
penalty on the weights. Solvers go from guessing to L-BFGS; the way of the data is in
`_core/training/_linear`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.random import Generator, RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import validate_data

from . import optimize
from ._core._threads import effective_n_threads
from ._core.training._linear import LinearModel
from ._sklearn.private import StrOptions, available_if, fit_context
from ._training.data import DTYPES, ROWS_FOR_SCALE
from ._training.estimators import TrainedClassifier
from ._training.parameters import CLASS_WEIGHT, CONSTRAINTS, OF_CLASSIFIERS, document
from ._training.targets import check_classes
from ._validation import as_array

__all__ = ["SVMClassifier", "SoftmaxClassifier"]

MARGIN = 1.0
SOLVERS = {"sgd", "adam", "gd", "lbfgs", "random_search", "random_local_search"}

_TEXT = """{summary}

    The loss is the mean over the rows of {loss_of_row},
    plus alpha / 2 times the sum of the squares of `coef_`. Weights start at zero.

    {{parameters}}

    {{attributes}}

    Notes
    -----
    uint8 data are not converted: the kernels read bytes as (x - mean) / scale, with
    the mean of each feature and one scale from {rows_for_scale} rows. The penalty and the step
    size are in these units; `coef_` and `intercept_` are for the bytes themselves.

    {two_classes}

    If the loss overflows, training ends with a ConvergenceWarning and the weights of the last epoch
    that ended well. Ctrl-C leaves the weights so far.
{more}"""

_PARAMETERS = {
    "alpha": None,
    "solver": """{"sgd", "adam", "gd", "lbfgs", "random_search", "random_local_search"}, \
default="sgd"
        "sgd": gradient descent by mini-batches; "adam": the same with Adam's steps (Kingma and Ba,
        2014); "gd": by all rows at once; "lbfgs": SciPy's L-BFGS-B; "random_search": `max_iter`
        guesses from a normal distribution with the standard deviation `learning_rate_init`;
        "random_local_search": such a step from the best weights so far, if the loss falls.""",
    "batch_size": None,
    "learning_rate_init": None,
    "learning_rate": None,
    "momentum": """float, default=0.9
        Of "sgd" and "gd", in [0, 1].""",
    "nesterovs_momentum": None,
    "max_iter": None,
    "tol": None,
    "n_iter_no_change": None,
    "early_stopping": None,
    "validation_fraction": None,
    "warm_start": None,
    "fit_intercept": """bool, default=True
        Whether scores have an intercept.""",
    "class_weight": None,
    "shuffle": None,
    "random_state": None,
    "decay_factor": None,
    "decay_every": None,
    "power_t": None,
    "beta_1": None,
    "beta_2": None,
    "epsilon": None,
    "max_fun": None,
    "verbose": None,
    "n_jobs": None,
}

_ATTRIBUTES = {
    "coef_": """ndarray of shape (n_classes, n_features), or (1, n_features) for two classes
        float64 for float64 and uint8 data, else float32.""",
    "intercept_": "ndarray of shape (n_classes,), or (1,)",
    "classes_": "ndarray of shape (n_classes,)",
    "loss_curve_": """list of float
        Loss with the penalty: over each epoch, while the weights move; after each iteration of
        L-BFGS; the best after each guess, the first being the start.""",
} | dict.fromkeys(
    [
        "history_", "loss_", "best_loss_", "validation_scores_", "best_validation_score_",
        "n_iter_", "t_", "n_features_in_", "feature_names_in_",
    ]
)  # fmt: skip


def _document(**texts):
    return document(
        _TEXT.format(rows_for_scale=ROWS_FOR_SCALE, **texts),
        _PARAMETERS,
        _ATTRIBUTES,
        auto_batch_size=256,
        steps="gradient descent and of the searches",
        iterations="Epochs, iterations of L-BFGS, or guesses",
        seeds="the order, the validation split and the searches",
        **OF_CLASSIFIERS,
    )


def _uses_mini_batches(estimator):
    if estimator.solver not in ("sgd", "adam"):
        raise AttributeError(
            "partial_fit is only available when solver='sgd' or 'adam', got "
            f"solver={estimator.solver}"
        )
    return True


class _LinearClassifier(TrainedClassifier):
    """What the two classifiers share: everything but the loss."""

    coef_: NDArray[np.floating]
    intercept_: NDArray[np.floating]

    loss: ClassVar[str]
    _epoch_solvers = ("sgd", "adam", "gd")
    _full_batch_solvers = ("gd",)
    _auto_batch_size = 256

    _parameter_constraints: ClassVar[dict] = {
        **CONSTRAINTS,
        **CLASS_WEIGHT,
        "solver": [StrOptions(SOLVERS)],
        "fit_intercept": ["boolean"],
    }

    def __init__(
        self,
        alpha: float = 1e-4,
        *,
        solver: Literal[
            "adam", "gd", "lbfgs", "random_local_search", "random_search", "sgd"
        ] = "sgd",
        batch_size: Literal["auto"] | int = "auto",
        learning_rate_init: float = 1e-3,
        learning_rate: Literal["adaptive", "constant", "cosine", "invscaling", "step"] = "constant",
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        max_iter: int = 200,
        tol: float | None = 1e-4,
        n_iter_no_change: float = 10,
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
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        max_fun: int = 15000,
        verbose: bool | int = False,
        n_jobs: int | None = None,
    ) -> None:
        self.alpha = alpha
        self.solver = solver
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.learning_rate = learning_rate
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
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
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.max_fun = max_fun
        self.verbose = verbose
        self.n_jobs = n_jobs

    @available_if(_uses_mini_batches)
    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Go on learning with one epoch over some rows.

        What the optimizer keeps and the random order go on where the previous call left them. The
        first call over bytes settles their mean and scale.

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

        Notes
        -----
        Weights of `class_weight` are taken as they are, since a call may have rows of few classes.
        """
        return self._fit_one_epoch(X, y, sample_weight, classes)

    # ---- weights ---------------------------------------------------------------------------------

    def _initialize(self):
        # Of two classes there is one row, whose score is positive for the second one.
        n_outputs = 1 if len(self.classes_) == 2 else len(self.classes_)
        self.coef_ = np.zeros((n_outputs, self.n_features_in_), self._dtype)
        self.intercept_ = np.zeros(n_outputs, self._dtype)

    def _centers_bytes(self):
        return self.fit_intercept

    def _prepare_training(self):
        if not self.fit_intercept:
            self.intercept_ = np.zeros_like(self.intercept_)
            if self._mean is not None:
                self._mean = np.zeros_like(self._mean)

    def _make_model(self, X, y, sample_weight, alpha):
        n_outputs, loss = len(self.coef_), self.loss
        if n_outputs == 1:
            loss = {"softmax": "log_loss", "svm": "hinge"}[loss]
            y = None if y is None else self._targets_for(X, y[:, None].astype(np.float64))
        scale = None if self._mean is None else np.full(X.shape[1], self._scale)
        model = LinearModel(
            X,
            n_outputs,
            y,
            loss,
            MARGIN,
            alpha,
            sample_weight,
            self._mean,
            scale,
            self.fit_intercept,
            effective_n_threads(self.n_jobs),
        )
        model.set_weights(*self._model_weights())
        return model

    def _model_weights(self):
        """Return weights and biases for the scaled rows, two lists."""
        W, bias = self.coef_, self.intercept_.astype(np.float64)
        if self._mean is not None:
            W, bias = W / self._scale, bias + (W * self._mean).sum(axis=1)
        return [W], [bias]

    def _moving_biases(self):
        return self._model_weights()[1] if self.fit_intercept else []

    def _keep(self, weights, biases):
        """Take over what `_model_weights` returns."""
        (W,), (bias,) = weights, biases
        if self._mean is not None:
            W = W * self._scale
            bias = bias - (W * self._mean).sum(axis=1)
        self.coef_, self.intercept_ = W.astype(self._dtype), bias.astype(self._dtype)

    def _search(self, X, y, weights, alpha):
        objective = self._objective(X, y, weights, alpha)
        n_seen = self._history.n_seen
        self._publish()
        with self._progress_bar(self.max_iter, "trial") as bar:
            take = self._after_iteration(objective, n_seen, len(X), bar)
            getattr(optimize, self.solver)(
                objective.loss,
                objective.join(*self._model_weights()),
                step_size=self.learning_rate_init,
                n_trials=self.max_iter,
                random_state=self._random_state,
                callback=lambda intermediate_result: take(
                    intermediate_result.x, intermediate_result.fun
                ),
            )
        self.t_ = self._history.n_seen = n_seen + objective.n_evaluations * len(X)

    # ---- scores ----------------------------------------------------------------------------------

    def _score_rows(self, X):
        model = LinearModel(X, len(self.coef_), n_threads=effective_n_threads(self.n_jobs))
        model.set_weights([self.coef_], [self.intercept_])
        scores = model.scores()
        return scores, np.isfinite(scores).all()

    def _loss_arguments(self, X, y):
        """Return the training loss at the weights as arguments for `losses.losses_on_plane`.

        But for the penalty: `l2` is for the weights without the last column. For two classes, a row
        of weights w becomes -w / 2 and w / 2: the same loss, with half of the penalty.
        """
        X, y = validate_data(self, as_array(X), y, dtype=DTYPES, order="C", reset=False)
        labels = self._targets.encode(check_classes(y, self._takes_labels))
        (W,), (bias,) = self._model_weights()
        W, is_binary = np.column_stack([W, bias]), len(W) == 1
        weights = self._weights_of_classes
        return {
            "W": np.concatenate([-0.5 * W, 0.5 * W]) if is_binary else W,
            "X": X,
            "y": labels,
            "loss": self.loss,
            "l2": self.alpha * (2.0 if is_binary else 1.0),
            "bias": True,
            "margin": MARGIN,
            "mean": self._mean,
            "scale": None if self._mean is None else self._scale,
            "sample_weight": None if weights is None else weights[labels],
            "n_jobs": self.n_jobs,
        }


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

    loss = "svm"


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

    loss = "softmax"
