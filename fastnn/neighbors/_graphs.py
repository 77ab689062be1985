"""Graphs of neighbors."""

from collections.abc import Callable
from typing import Any, Literal

from .._sklearn.private import graph, validate_params
from ._estimators import NearestNeighbors


@validate_params(
    graph.kneighbors_graph._skl_parameter_constraints, prefer_skip_nested_validation=False
)
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
) -> Any:
    """Return the sparse graph of the k nearest neighbors among the rows of X.

    Parameters and errors are those of `sklearn.neighbors.kneighbors_graph`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or a fitted estimator
    n_neighbors : int
    mode : {"connectivity", "distance"}, default="connectivity"
        What edges hold: ones, or distances.
    metric : str or callable, default="minkowski"
    p : float, default=2
    metric_params : dict, optional
    include_self : bool or "auto", default=False
        Whether a sample is its own first neighbor; "auto": in mode "connectivity".
    n_jobs : int, optional

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        Rows ascend by (distance, index).

    Raises
    ------
    TypeError, ValueError
        As scikit-learn's.

    Examples
    --------
    >>> from fastnn.neighbors import kneighbors_graph
    >>> kneighbors_graph([[0.0], [3.0], [1.0]], 1, mode="distance").toarray()
    array([[0., 0., 1.],
           [0., 0., 2.],
           [1., 0., 0.]])
    """
    if not isinstance(X, graph.KNeighborsMixin):
        X = NearestNeighbors(
            n_neighbors=n_neighbors, metric=metric, p=p, metric_params=metric_params, n_jobs=n_jobs
        ).fit(X)
    return graph.kneighbors_graph(
        X,
        n_neighbors,
        mode=mode,
        metric=metric,
        p=p,
        metric_params=metric_params,
        include_self=include_self,
        n_jobs=n_jobs,
    )


@validate_params(
    graph.radius_neighbors_graph._skl_parameter_constraints, prefer_skip_nested_validation=False
)
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
) -> Any:
    """Return the sparse graph of all neighbors within a radius among the rows of X.

    Parameters and errors are those of `sklearn.neighbors.radius_neighbors_graph`.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features), or a fitted estimator
    radius : float
    mode : {"connectivity", "distance"}, default="connectivity"
        What edges hold: ones, or distances.
    metric : str or callable, default="minkowski"
    p : float, default=2
    metric_params : dict, optional
    include_self : bool or "auto", default=False
        Whether a sample is its own first neighbor; "auto": in mode "connectivity".
    n_jobs : int, optional

    Returns
    -------
    CSR matrix of shape (n_samples, n_samples)
        Rows ascend by index.

    Raises
    ------
    TypeError, ValueError
        As scikit-learn's.

    Examples
    --------
    >>> from fastnn.neighbors import radius_neighbors_graph
    >>> radius_neighbors_graph([[0.0], [3.0], [1.0]], 1.5, mode="distance").toarray()
    array([[0., 0., 1.],
           [0., 0., 0.],
           [1., 0., 0.]])
    """
    if not isinstance(X, graph.RadiusNeighborsMixin):
        X = NearestNeighbors(
            radius=radius, metric=metric, p=p, metric_params=metric_params, n_jobs=n_jobs
        ).fit(X)
    return graph.radius_neighbors_graph(
        X,
        radius,
        mode=mode,
        metric=metric,
        p=p,
        metric_params=metric_params,
        include_self=include_self,
        n_jobs=n_jobs,
    )
