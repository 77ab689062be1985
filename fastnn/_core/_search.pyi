from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

_Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

# What scans is compiled alone: Python only sees these classes inside the searches.
@disjoint_base
class SearchPlan: ...

@disjoint_base
class TileSearch:
    def __init__(
        self,
        X: _Rows,
        Y: _Rows,
        metric: str,
        mode: int,
        center: NDArray[np.float64] | None,
        scale: float,
        n_threads: int,
    ) -> None: ...
