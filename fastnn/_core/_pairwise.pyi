from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._rows import Rows

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

@disjoint_base
class BlockFill: ...

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
) -> None: ...
