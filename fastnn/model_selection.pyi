from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseShuffleSplit
from sklearn.model_selection._search import BaseSearchCV

__all__ = [
    "Bootstrap",
    "HoldoutTest",
    "HoldoutWarning",
    "KNeighborsClassifierCV",
    "KNeighborsRegressorCV",
    "train_val_test_split",
]

class Bootstrap(BaseShuffleSplit):
    def __init__(
        self, n_splits: int = 10, *, random_state: int | RandomState | None = None
    ) -> None: ...

class HoldoutTest:
    def __init__(
        self, X: ArrayLike, y: ArrayLike, *, scoring: str | Callable[..., Any] | None = None
    ) -> None: ...
    def score(self, estimator: Any) -> float: ...

class HoldoutWarning(UserWarning): ...

class KNeighborsClassifierCV(BaseSearchCV):
    def __init__(
        self,
        n_neighbors: ArrayLike | int | None = None,
        weights: Any = ...,
        metric: Any = "minkowski",
        *,
        cv: Any = None,
        scoring: str | Callable[..., Any] | None = None,
        refit: bool = True,
        n_resamples: int = 10,
        random_state: int | RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None: ...
    best_params_: dict[str, Any]
    best_score_: float
    best_index_: int
    best_estimator_: Any
    cv_results_: dict[str, Any]
    n_splits_: int
    @property
    def estimator(self) -> Any: ...
    def fit(self, X: ArrayLike, y: Any, *, groups: ArrayLike | None = None) -> Self: ...
    def score(self, X: ArrayLike, y: Any = None, **params: Any) -> float: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def predict_proba(self, X: Any) -> NDArray[np.float64]: ...
    def decision_function(self, X: Any) -> NDArray[np.floating]: ...
    def transform(self, X: Any) -> Any: ...

class KNeighborsRegressorCV(BaseSearchCV):
    def __init__(
        self,
        n_neighbors: ArrayLike | int | None = None,
        weights: Any = ...,
        metric: Any = "minkowski",
        *,
        cv: Any = None,
        scoring: str | Callable[..., Any] | None = None,
        refit: bool = True,
        n_resamples: int = 10,
        random_state: int | RandomState | None = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None: ...
    best_params_: dict[str, Any]
    best_score_: float
    best_index_: int
    best_estimator_: Any
    cv_results_: dict[str, Any]
    n_splits_: int
    @property
    def estimator(self) -> Any: ...
    def fit(self, X: ArrayLike, y: Any, *, groups: ArrayLike | None = None) -> Self: ...
    def score(self, X: ArrayLike, y: Any = None, **params: Any) -> float: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def predict_proba(self, X: Any) -> NDArray[np.float64]: ...
    def decision_function(self, X: Any) -> NDArray[np.floating]: ...
    def transform(self, X: Any) -> Any: ...

def train_val_test_split(
    X: Any,
    y: ArrayLike,
    *,
    val_size: float = 1000,
    test_size: float = 0.2,
    stratify: bool | ArrayLike | None = True,
    shuffle: bool = True,
    random_state: int | RandomState | None = 0,
) -> Any: ...
