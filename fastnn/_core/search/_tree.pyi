from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

_Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

@disjoint_base
class Tree:
    Y: _Rows
    metric: str
    weights: NDArray[np.float64] | None
    max_distance: float
    periods: NDArray[np.float64] | None
    def __init__(
        self,
        Y: _Rows,
        metric: str,
        n_threads: int,
        weights: NDArray[np.float64] | None = None,
        max_distance: float = ...,
        advance: Callable[[float], object] | None = None,
        periods: NDArray[np.float64] | None = None,
    ) -> None: ...
    @property
    def nbytes(self) -> int: ...
