from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ._rows import Rows

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

def fill_distances(
    X: _Rows,
    Y: _Rows,
    metric: str,
    out: NDArray[np.float32] | NDArray[np.float64],
    symmetric: bool,
    n_threads: int,
    center: NDArray[np.float64] | None,
    scale: float,
    float32_tiles: bool,
    again: float | None = None,
) -> None: ...
def float32_tiles_serve(
    X: NDArray[np.float32],
    Y: NDArray[np.float32],
    metric: str,
    center: NDArray[np.float64],
    scale: float,
) -> bool: ...
