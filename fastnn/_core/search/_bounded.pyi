from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from .._rows import Rows
from ._collect import ListOfNearest, Within

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

_Stage: TypeAlias = tuple[
    NDArray[np.generic], NDArray[np.generic], NDArray[np.float64], float, float
]

@disjoint_base
class BoundFilter:
    def __init__(
        self, X: Rows, Y: Rows, metric: str, stages: list[_Stage], n_threads: int
    ) -> None: ...

@disjoint_base
class NearestBeyondBounds(ListOfNearest):
    def __init__(self, bound_filter: BoundFilter, k: int) -> None: ...

@disjoint_base
class WithinBeyondBounds(Within):
    def __init__(self, bound_filter: BoundFilter, radius: float, by_distance: bool) -> None: ...

def find_neighbors_by_bounds(
    X: _Rows,
    Y: _Rows,
    k: int,
    metric: str,
    bounds: object,
    n_threads: int,
    advance: Callable[[float], object] | None = None,
    exclude_self: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.int64], list[int]] | None: ...
def find_within_radius_by_bounds(
    X: _Rows,
    Y: _Rows,
    radius: float,
    metric: str,
    bounds: object,
    n_threads: int,
    by_distance: bool,
    exclude_self: bool = False,
) -> (
    tuple[list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]], list[int]] | None
): ...
