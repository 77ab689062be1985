from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from .._rows import ExactDistances, Rows
from .._tiles import Panels

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

@disjoint_base
class BlockFill: ...

@disjoint_base
class CenteredPanels(Panels): ...

@disjoint_base
class Float32Distances(ExactDistances): ...

@disjoint_base
class RowFill: ...

@disjoint_base
class TileFill: ...

def fill_distances(
    X: _Rows,
    Y: _Rows,
    metric: str,
    out: NDArray[np.float32] | NDArray[np.float64],
    symmetric: bool,
    n_threads: int,
) -> bool: ...
def expansions(
    X: NDArray[np.float32] | NDArray[np.float64], Y: NDArray[np.float32] | NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]: ...
