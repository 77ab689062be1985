from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from .._rows import Rows

_Rows: TypeAlias = Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]

TERMS_PER_PRODUCT: int

@disjoint_base
class Encoding: ...

@disjoint_base
class Encoder:
    def __init__(
        self,
        center: NDArray[np.float64],
        scale: float,
        units: NDArray[np.float64],
        middle: float = 128.0,
    ) -> None: ...
    def encode(
        self, X: _Rows, n_threads: int
    ) -> tuple[
        list[NDArray[np.uint8] | NDArray[np.float32]],
        NDArray[np.float64],
        NDArray[np.float64],
        NDArray[np.float64],
    ]: ...

@disjoint_base
class ProjectionEncoder(Encoder):
    def __init__(
        self,
        center: NDArray[np.float64],
        scale: float,
        units: NDArray[np.float64],
        directions: NDArray[np.float32],
        widths: NDArray[np.intp],
        rest_center: float,
        middle: float,
    ) -> None: ...

@disjoint_base
class GroupEncoder(Encoder):
    def __init__(
        self,
        center: NDArray[np.float64],
        scale: float,
        units: NDArray[np.float64],
        order: NDArray[np.int64],
        starts: list[NDArray[np.int64]],
    ) -> None: ...
