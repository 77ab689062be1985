import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._rows import Rows

MAX_SCALE: float
MAX_WEIGHTED_SCALE: float

@disjoint_base
class Panels:
    # Filled by compiled code alone.
    @property
    def width(self) -> int: ...
    @property
    def depth(self) -> int: ...
    @property
    def panel_bytes(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def n_panels(self) -> int: ...

def packing_frame(
    Y: Rows | NDArray[np.float32] | NDArray[np.float64], centered: bool = True
) -> tuple[NDArray[np.float64], float] | None: ...
