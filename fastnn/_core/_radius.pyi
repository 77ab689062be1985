from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._rows import Rows
from ._search import TileSearch

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

@disjoint_base
class RadiusSearch(TileSearch): ...

def find_within_radius(
    X: _Rows,
    Y: _Rows,
    radius: float,
    metric: str,
    n_threads: int,
    by_distance: bool,
    by_rows: bool = False,
    exclude_self: bool = False,
) -> list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]] | None: ...
