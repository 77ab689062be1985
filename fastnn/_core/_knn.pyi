from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._rows import Rows
from ._search import TileSearch

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

@disjoint_base
class NeighborSearch(TileSearch): ...

def find_neighbors(
    X: _Rows,
    Y: _Rows,
    k: int,
    metric: str,
    n_threads: int,
    by_rows: bool = False,
    advance: Callable[[float], object] | None = None,
    exclude_self: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.int64]] | None: ...
