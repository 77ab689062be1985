from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

_Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

@disjoint_base
class NeighborSearch:
    # What scans and finishes is compiled alone: Python only sees it inside find_neighbors.
    def __init__(
        self,
        X: _Rows,
        Y: _Rows,
        k: int,
        metric: str,
        mode: int,
        center: NDArray[np.float64] | None,
        scale: float,
        n_threads: int,
    ) -> None: ...
    @property
    def chunk_rows(self) -> int: ...
    @property
    def out_of_range(self) -> int: ...

def find_neighbors(
    X: _Rows,
    Y: _Rows,
    k: int,
    metric: str,
    n_threads: int,
    by_rows: bool = False,
    advance: Callable[[float], object] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None: ...
