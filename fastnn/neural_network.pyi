from typing import Any, Literal, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

__all__ = ["MLPClassifier"]

class MLPClassifier(ClassifierMixin, BaseEstimator):
    classes_: NDArray[Any]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_iter_: int
    n_features_in_: int
    t_: int
    coefs_: list[NDArray[np.floating]]
    intercepts_: list[NDArray[np.floating]]
    n_layers_: int
    n_outputs_: int
    out_activation_: str
    loss_: float
    best_loss_: float | None
    history_: dict[str, list[float]]
    def __init__(
        self,
        hidden_layer_sizes: ArrayLike = ...,
        activation: Literal["identity", "logistic", "relu", "tanh"] = "relu",
        *,
        solver: Literal["adam", "lbfgs", "sgd"] = "adam",
        alpha: float = 0.0001,
        batch_size: Literal["auto"] | int = "auto",
        learning_rate: Literal["adaptive", "constant", "invscaling"] = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: int | RandomState | None = None,
        tol: float | None = 0.0001,
        verbose: bool | int = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-08,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        loss: Literal["softmax", "svm"] = "softmax",
        dropout: float = 0.0,
        n_jobs: int | None = None,
    ) -> None: ...
    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self: ...
    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        classes: ArrayLike | None = None,
    ) -> Self: ...
    def decision_function(self, X: ArrayLike) -> NDArray[np.floating]: ...
    def predict(self, X: ArrayLike) -> NDArray[Any]: ...
    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]: ...
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]: ...
    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float: ...
