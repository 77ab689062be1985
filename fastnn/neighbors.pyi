from collections.abc import Callable
from typing import Any, Literal, Self

import numpy as np
import sklearn.neighbors
from numpy.typing import ArrayLike, NDArray
from sklearn.neighbors import VALID_METRICS as VALID_METRICS
from sklearn.neighbors import VALID_METRICS_SPARSE as VALID_METRICS_SPARSE
from sklearn.neighbors import BallTree as BallTree
from sklearn.neighbors import KDTree as KDTree
from sklearn.neighbors import KernelDensity as KernelDensity
from sklearn.neighbors import NearestCentroid as NearestCentroid
from sklearn.neighbors import NeighborhoodComponentsAnalysis as NeighborhoodComponentsAnalysis
from sklearn.neighbors import sort_graph_by_row_values as sort_graph_by_row_values

__all__ = [
    "VALID_METRICS",
    "VALID_METRICS_SPARSE",
    "BallTree",
    "KDTree",
    "KNeighborsClassifier",
    "KNeighborsRegressor",
    "KNeighborsTransformer",
    "KernelDensity",
    "LocalOutlierFactor",
    "NearestCentroid",
    "NearestNeighbors",
    "NeighborhoodComponentsAnalysis",
    "RadiusNeighborsClassifier",
    "RadiusNeighborsRegressor",
    "RadiusNeighborsTransformer",
    "kneighbors",
    "kneighbors_graph",
    "precomputed_knn",
    "radius_neighbors",
    "radius_neighbors_graph",
    "sort_graph_by_row_values",
]

class KNeighborsClassifier(sklearn.neighbors.KNeighborsClassifier):
    def __init__(
        self,
        n_neighbors: int | None = 5,
        *,
        weights: Literal["distance", "uniform"] | Callable[..., Any] | None = "uniform",
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "kd_tree"] = "auto",
        leaf_size: int = 30,
        p: float | None = 2,
        metric: Any = "minkowski",
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
    def predict_proba(self, X: Any) -> NDArray[np.float64]: ...
    def fit(self, X: Any, y: Any) -> Self: ...
    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
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
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "kd_tree"] = "auto",
        leaf_size: int = 30,
        p: float | None = 2,
        metric: Any = "minkowski",
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None: ...
    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
    def explain_algorithm(self) -> str: ...
    def fit(self, X: Any, y: Any) -> Self: ...
    def predict(self, X: Any) -> NDArray[Any]: ...
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
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "kd_tree"] = "auto",
        leaf_size: int = 30,
        metric: Any = "minkowski",
        p: float | None = 2,
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None: ...
    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
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
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "kd_tree"] = "auto",
        leaf_size: int = 30,
        metric: Any = "minkowski",
        p: float | None = 2,
        metric_params: dict[Any, Any] | None = None,
        contamination: Literal["auto"] | float = "auto",
        novelty: bool = False,
        n_jobs: int | None = None,
    ) -> None: ...
    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
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
        algorithm: Literal["auto", "ball_tree", "bounded", "brute", "kd_tree"] = "auto",
        leaf_size: int = 30,
        metric: Any = "minkowski",
        p: float | None = 2,
        metric_params: dict[Any, Any] | None = None,
        n_jobs: int | None = None,
    ) -> None: ...
    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any: ...
    def radius_neighbors(
        self,
        X: Any = None,
        radius: float | None = None,
        return_distance: bool = True,
        sort_results: bool = False,
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
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
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
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
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
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
    ) -> Any: ...
    @property
    def effective_algorithm_(self) -> str: ...
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

def kneighbors(
    X: ArrayLike,
    Y: ArrayLike,
    n_neighbors: int = 5,
    metric: str = "minkowski",
    *,
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    algorithm: Literal["auto", "brute", "bounded", "kd_tree"] = "auto",
    n_jobs: int | None = None,
    verbose: int = 0,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...
def radius_neighbors(
    X: ArrayLike,
    Y: ArrayLike,
    radius: float = 1.0,
    metric: str = "minkowski",
    *,
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    algorithm: Literal["auto", "brute", "bounded", "kd_tree"] = "auto",
    sort_results: bool = False,
    n_jobs: int | None = None,
) -> tuple[NDArray[np.object_], NDArray[np.object_]]: ...
def kneighbors_graph(
    X: Any,
    n_neighbors: int,
    *,
    mode: Literal["connectivity", "distance"] = "connectivity",
    metric: str | Callable[..., Any] = "minkowski",
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    include_self: Any = False,
    n_jobs: int | None = None,
) -> Any: ...
def precomputed_knn(
    X: ArrayLike,
    n_neighbors: int,
    metric: str = "minkowski",
    *,
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    algorithm: Literal["auto", "brute", "bounded", "kd_tree"] = "auto",
    include_self: bool = True,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]: ...
def radius_neighbors_graph(
    X: Any,
    radius: float,
    *,
    mode: Literal["connectivity", "distance"] = "connectivity",
    metric: str | Callable[..., Any] = "minkowski",
    p: float = 2,
    metric_params: dict[str, Any] | None = None,
    include_self: Any = False,
    n_jobs: int | None = None,
) -> Any: ...
