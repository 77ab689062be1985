"""Nearest-neighbor search, exact or with a recall that is kept, and estimators on top of it.

The estimators are scikit-learn's own classes with another search: constructors, methods,
attributes, warnings and errors are theirs. What the kernels do not serve (other metrics, sparse and
precomputed input, the ball tree) is left to scikit-learn's own code; the logger "fastnn" says so,
once, at level INFO.

All names of `sklearn.neighbors` can be imported from here; these are scikit-learn's as they are:
BallTree, KernelDensity, NearestCentroid, NeighborhoodComponentsAnalysis,
sort_graph_by_row_values, VALID_METRICS and VALID_METRICS_SPARSE.
"""

from sklearn.neighbors import (
    VALID_METRICS,
    VALID_METRICS_SPARSE,
    BallTree,
    KernelDensity,
    NearestCentroid,
    NeighborhoodComponentsAnalysis,
    sort_graph_by_row_values,
)

from .._search.ivf import Recall
from .._sklearn.kd_tree import KDTree
from ._blocks import kneighbors_of_blocks, merge_neighbors
from ._estimators import (
    KNeighborsClassifier,
    KNeighborsRegressor,
    KNeighborsTransformer,
    LocalOutlierFactor,
    NearestNeighbors,
    RadiusNeighborsClassifier,
    RadiusNeighborsRegressor,
    RadiusNeighborsTransformer,
)
from ._functions import kneighbors, precomputed_knn, radius_neighbors
from ._graphs import kneighbors_graph, radius_neighbors_graph

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
    "Recall",
    "kneighbors",
    "kneighbors_graph",
    "kneighbors_of_blocks",
    "merge_neighbors",
    "precomputed_knn",
    "radius_neighbors",
    "radius_neighbors_graph",
    "sort_graph_by_row_values",
]
