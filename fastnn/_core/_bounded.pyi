from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._collect import ListOfNearest
from ._rows import Rows

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

@disjoint_base
class NearestBeyondBounds(ListOfNearest):
    def __init__(
        self,
        X: Rows,
        Y: Rows,
        metric: str,
        k: int,
        margins: NDArray[np.float64],
        sample_margin: float,
        unit: float,
        n_threads: int,
        finer: tuple[Rows, Rows, NDArray[np.float64], float] | None = None,
    ) -> None: ...

def find_neighbors_by_bounds(
    X: _Rows,
    Y: _Rows,
    k: int,
    metric: str,
    bounds: object,
    n_threads: int,
    advance: Callable[[float], object] | None = None,
    exclude_self: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.int64], int] | None: ...
def sum_groups(
    X: NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8],
    groups: NDArray[np.int64],
    centers: NDArray[np.float64],
    unit: float,
    codes: NDArray[np.uint8],
    sizes: NDArray[np.float64],
    n_threads: int,
) -> None: ...
