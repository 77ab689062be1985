from typing import Any, Literal, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

__all__ = ["SVMClassifier", "SoftmaxClassifier"]

class SVMClassifier(ClassifierMixin, BaseEstimator):
    classes_: NDArray[Any]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_iter_: int
    n_features_in_: int
    t_: int
    coef_: NDArray[np.floating]
    intercept_: NDArray[np.floating]
    def __init__(
        self,
        alpha: float = 0.0001,
        *,
        solver: Literal["gd", "lbfgs", "random_local_search", "random_search", "sgd"] = "sgd",
        batch_size: int = 256,
        learning_rate_init: float = 0.001,
        learning_rate: Literal["constant", "cosine", "invscaling", "step"] = "constant",
        momentum: float = 0.9,
        nesterov: bool = True,
        max_iter: int = 200,
        tol: float | None = 0.0001,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        fit_intercept: bool = True,
        class_weight: Literal["balanced"] | dict[Any, Any] | None = None,
        shuffle: bool = True,
        random_state: int | RandomState | None = None,
        decay_factor: float = 0.5,
        decay_every: int = 10,
        power_t: float = 0.5,
        verbose: bool | int = False,
        n_jobs: int | None = None,
    ) -> None: ...
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self: ...
    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self: ...
    def decision_function(self, X: ArrayLike) -> NDArray[np.floating]: ...
    def predict(self, X: ArrayLike) -> NDArray[Any]: ...
    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float: ...

class SoftmaxClassifier(ClassifierMixin, BaseEstimator):
    classes_: NDArray[Any]
    loss_curve_: list[float]
    validation_scores_: list[float] | None
    best_validation_score_: float | None
    n_iter_: int
    n_features_in_: int
    t_: int
    coef_: NDArray[np.floating]
    intercept_: NDArray[np.floating]
    def __init__(
        self,
        alpha: float = 0.0001,
        *,
        solver: Literal["gd", "lbfgs", "random_local_search", "random_search", "sgd"] = "sgd",
        batch_size: int = 256,
        learning_rate_init: float = 0.001,
        learning_rate: Literal["constant", "cosine", "invscaling", "step"] = "constant",
        momentum: float = 0.9,
        nesterov: bool = True,
        max_iter: int = 200,
        tol: float | None = 0.0001,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        fit_intercept: bool = True,
        class_weight: Literal["balanced"] | dict[Any, Any] | None = None,
        shuffle: bool = True,
        random_state: int | RandomState | None = None,
        decay_factor: float = 0.5,
        decay_every: int = 10,
        power_t: float = 0.5,
        verbose: bool | int = False,
        n_jobs: int | None = None,
    ) -> None: ...
    def predict_log_proba(self, X: ArrayLike) -> NDArray[np.float64]: ...
    def predict_proba(self, X: ArrayLike) -> NDArray[np.float64]: ...
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self: ...
    def partial_fit(self, X: ArrayLike, y: ArrayLike, classes: ArrayLike | None = None) -> Self: ...
    def decision_function(self, X: ArrayLike) -> NDArray[np.floating]: ...
    def predict(self, X: ArrayLike) -> NDArray[Any]: ...
    def score(
        self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float: ...
