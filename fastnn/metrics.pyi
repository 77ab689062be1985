from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "cosine_distances",
    "euclidean_distances",
    "manhattan_distances",
    "pairwise_distances",
    "pairwise_distances_argmin",
    "pairwise_distances_argmin_min",
    "pairwise_distances_chunked",
]

def cosine_distances(
    X: ArrayLike, Y: ArrayLike | None = None, *, n_jobs: int | None = None
) -> NDArray[np.float64]: ...
def euclidean_distances(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    Y_norm_squared: ArrayLike | None = None,
    squared: bool = False,
    X_norm_squared: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> NDArray[Any]: ...
def manhattan_distances(
    X: ArrayLike, Y: ArrayLike | None = None, *, n_jobs: int | None = None
) -> NDArray[Any]: ...
def pairwise_distances(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    metric: str | Callable[..., Any] = "l2",
    *,
    n_jobs: int | None = None,
    ensure_all_finite: Any = True,
    out: NDArray[Any] | None = None,
    **kwds: Any,
) -> NDArray[Any]: ...
def pairwise_distances_argmin(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    axis: Literal[0, 1] = 1,
    metric: str | Callable[..., Any] = "euclidean",
    metric_kwargs: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> NDArray[np.int64]: ...
def pairwise_distances_argmin_min(
    X: ArrayLike,
    Y: ArrayLike,
    *,
    axis: Literal[0, 1] = 1,
    metric: str | Callable[..., Any] = "euclidean",
    metric_kwargs: dict[str, Any] | None = None,
    n_jobs: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]: ...
def pairwise_distances_chunked(
    X: ArrayLike,
    Y: ArrayLike | None = None,
    *,
    reduce_func: Callable[..., Any] | None = None,
    metric: str | Callable[..., Any] = "euclidean",
    n_jobs: int | None = None,
    working_memory: float | None = None,
    **kwds: Any,
) -> Iterator[Any]: ...
