# The estimators are scikit-learn's, which has no types.
from collections.abc import Callable, Iterator
from typing import Any, Literal, Self

import numpy as np
import sklearn.neighbors
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array

from .._search.ivf import Recall

class KNeighborsClassifier(sklearn.neighbors.KNeighborsClassifier):
    def __init__(
        self,
        n_neighbors: int | None = 5,
        *,
        weights: Literal["distance", "uniform"] | Callable[..., Any] | None = "uniform",
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "ivf", "kd_tree"] = "auto",
        leaf_size: int = 30,
        p: float | None = 2,
        metric: Any = "minkowski",
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
        recall: float = 1.0,
        class_weight: Literal["balanced"] | dict[Any, float] | list[Any] | None = None,
    ) -> None: ...
    @property
    def recall_(self) -> Recall: ...
    def calibrate(self, X: Any) -> Self: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def predict_proba(self, X: Any) -> NDArray[np.float64]: ...
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self: ...
    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> Self: ...
    def remove(self, indices: Any) -> Self: ...
    @property
    def sample_indices_(self) -> NDArray[np.int64]: ...
    def kneighbors(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
        *,
        where: Any = None,
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
    @property
    def nbytes_(self) -> int: ...
    def explain_algorithm(self) -> str: ...
    def score(
        self, X: ArrayLike | None, y: Any, sample_weight: ArrayLike | None = None
    ) -> float: ...
    def kneighbors_graph(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
    ) -> Any: ...

class KNeighborsRegressor(sklearn.neighbors.KNeighborsRegressor):
    def __init__(
        self,
        n_neighbors: int | None = 5,
        *,
        weights: Literal["distance", "uniform"] | Callable[..., Any] | None = "uniform",
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "ivf", "kd_tree"] = "auto",
        leaf_size: int = 30,
        p: float | None = 2,
        metric: Any = "minkowski",
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
        recall: float = 1.0,
    ) -> None: ...
    @property
    def recall_(self) -> Recall: ...
    def calibrate(self, X: Any) -> Self: ...
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self: ...
    def remove(self, indices: Any) -> Self: ...
    @property
    def sample_indices_(self) -> NDArray[np.int64]: ...
    def kneighbors(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
        *,
        where: Any = None,
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
    @property
    def nbytes_(self) -> int: ...
    def explain_algorithm(self) -> str: ...
    def kneighbors_graph(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
    ) -> Any: ...
    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float: ...

class KNeighborsTransformer(sklearn.neighbors.KNeighborsTransformer):
    def __init__(
        self,
        *,
        mode: Literal["connectivity", "distance"] = "distance",
        n_neighbors: int | None = 5,
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "ivf", "kd_tree"] = "auto",
        leaf_size: int = 30,
        metric: Any = "minkowski",
        p: float | None = 2,
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
        recall: float = 1.0,
    ) -> None: ...
    @property
    def recall_(self) -> Recall: ...
    def calibrate(self, X: Any) -> Self: ...
    def kneighbors(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
        *,
        where: Any = None,
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
    @property
    def nbytes_(self) -> int: ...
    def explain_algorithm(self) -> str: ...
    def fit(self, X: Any, y: Any = None) -> Self: ...
    def transform(self, X: ArrayLike) -> Any: ...
    def fit_transform(self, X: ArrayLike, y: Any = None) -> Any: ...
    def kneighbors_graph(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
    ) -> Any: ...

class LocalOutlierFactor(sklearn.neighbors.LocalOutlierFactor):
    def __init__(
        self,
        n_neighbors: int | None = 20,
        *,
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "ivf", "kd_tree"] = "auto",
        leaf_size: int = 30,
        metric: Any = "minkowski",
        p: float | None = 2,
        metric_params: dict[Any, Any] | None = None,
        contamination: Literal["auto"] | float = "auto",
        novelty: bool = False,
        n_jobs: int | None = None,
        recall: float = 1.0,
    ) -> None: ...
    @property
    def recall_(self) -> Recall: ...
    def calibrate(self, X: Any) -> Self: ...
    def kneighbors(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
        *,
        where: Any = None,
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
    @property
    def nbytes_(self) -> int: ...
    def explain_algorithm(self) -> str: ...
    def fit_predict(self, X: Any, y: Any = None) -> NDArray[Any]: ...
    def fit(self, X: Any, y: Any = None) -> Self: ...
    def predict(self, X: Any = None) -> NDArray[Any]: ...
    def decision_function(self, X: Any) -> NDArray[Any]: ...
    def kneighbors_graph(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
    ) -> Any: ...

class NearestNeighbors(sklearn.neighbors.NearestNeighbors):
    def __init__(
        self,
        *,
        n_neighbors: int | None = 5,
        radius: float | None = 1.0,
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "ivf", "kd_tree"] = "auto",
        leaf_size: int = 30,
        metric: Any = "minkowski",
        p: float | None = 2,
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
        recall: float = 1.0,
    ) -> None: ...
    @property
    def recall_(self) -> Recall: ...
    def calibrate(self, X: Any) -> Self: ...
    def partial_fit(self, X: Any, y: Any = None) -> Self: ...
    def remove(self, indices: Any) -> Self: ...
    @property
    def sample_indices_(self) -> NDArray[np.int64]: ...
    def kneighbors(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        return_distance: bool = True,
        *,
        where: Any = None,
    ) -> Any: ...
    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
        *,
        where: Any = None,
        count_only: bool = False,
    ) -> Any: ...
    def iter_radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
        sort_results: bool = False,
        *,
        max_pairs: int = ...,
        where: Any = None,
    ) -> Iterator[csr_array]: ...
    @property
    def effective_algorithm_(self) -> str: ...
    @property
    def nbytes_(self) -> int: ...
    def explain_algorithm(self) -> str: ...
    def fit(self, X: Any, y: Any = None) -> Self: ...
    def kneighbors_graph(
        self,
        X: Any = None,
        n_neighbors: int | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
    ) -> Any: ...
    def radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
        sort_results: bool = False,
    ) -> Any: ...

class RadiusNeighborsClassifier(sklearn.neighbors.RadiusNeighborsClassifier):
    def __init__(
        self,
        radius: float | None = 1.0,
        *,
        weights: Literal["distance", "uniform"] | Callable[..., Any] | None = "uniform",
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "kd_tree"] = "auto",
        leaf_size: int = 30,
        p: float | None = 2,
        metric: Any = "minkowski",
        outlier_label: int | str | ArrayLike | None = None,
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None: ...
    def predict_proba(self, X: Any) -> NDArray[np.float64]: ...
    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
        *,
        where: Any = None,
        count_only: bool = False,
    ) -> Any: ...
    def iter_radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
        sort_results: bool = False,
        *,
        max_pairs: int = ...,
        where: Any = None,
    ) -> Iterator[csr_array]: ...
    @property
    def effective_algorithm_(self) -> str: ...
    @property
    def nbytes_(self) -> int: ...
    def explain_algorithm(self) -> str: ...
    def fit(self, X: Any, y: Any) -> Self: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def score(
        self, X: ArrayLike | None, y: Any, sample_weight: ArrayLike | None = None
    ) -> float: ...
    def radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
        sort_results: bool = False,
    ) -> Any: ...

class RadiusNeighborsRegressor(sklearn.neighbors.RadiusNeighborsRegressor):
    def __init__(
        self,
        radius: float | None = 1.0,
        *,
        weights: Literal["distance", "uniform"] | Callable[..., Any] | None = "uniform",
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "kd_tree"] = "auto",
        leaf_size: int = 30,
        p: float | None = 2,
        metric: Any = "minkowski",
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None: ...
    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
        *,
        where: Any = None,
        count_only: bool = False,
    ) -> Any: ...
    def iter_radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
        sort_results: bool = False,
        *,
        max_pairs: int = ...,
        where: Any = None,
    ) -> Iterator[csr_array]: ...
    @property
    def effective_algorithm_(self) -> str: ...
    @property
    def nbytes_(self) -> int: ...
    def explain_algorithm(self) -> str: ...
    def fit(self, X: Any, y: Any) -> Self: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
        sort_results: bool = False,
    ) -> Any: ...
    def score(self, X: ArrayLike, y: Any, sample_weight: ArrayLike | None = None) -> float: ...

class RadiusNeighborsTransformer(sklearn.neighbors.RadiusNeighborsTransformer):
    def __init__(
        self,
        *,
        mode: Literal["connectivity", "distance"] = "distance",
        radius: float | None = 1.0,
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "kd_tree"] = "auto",
        leaf_size: int = 30,
        metric: Any = "minkowski",
        p: float | None = 2,
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None: ...
    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
        *,
        where: Any = None,
        count_only: bool = False,
    ) -> Any: ...
    def iter_radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
        sort_results: bool = False,
        *,
        max_pairs: int = ...,
        where: Any = None,
    ) -> Iterator[csr_array]: ...
    @property
    def effective_algorithm_(self) -> str: ...
    @property
    def nbytes_(self) -> int: ...
    def explain_algorithm(self) -> str: ...
    def fit(self, X: Any, y: Any = None) -> Self: ...
    def transform(self, X: ArrayLike) -> Any: ...
    def fit_transform(self, X: ArrayLike, y: Any = None) -> Any: ...
    def radius_neighbors_graph(
        self,
        X: Any = None,
        radius: float | None = None,
        mode: Literal["connectivity", "distance"] = "connectivity",
        sort_results: bool = False,
    ) -> Any: ...
