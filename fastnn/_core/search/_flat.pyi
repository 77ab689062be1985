from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from .._rows import Rows
from ._index import FlatIndex

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

def find_neighbors(
    X: _Rows,
    Y: FlatIndex | _Rows,
    k: int,
    metric: str,
    n_threads: int,
    by_rows: bool = False,
    advance: Callable[[float], object] | None = None,
    exclude_self: bool = False,
    ranking: object = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None: ...
def find_within_radius(
    X: _Rows,
    Y: FlatIndex | _Rows,
    radius: float,
    metric: str,
    n_threads: int,
    by_distance: bool,
    by_rows: bool = False,
    exclude_self: bool = False,
) -> list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]] | None: ...
