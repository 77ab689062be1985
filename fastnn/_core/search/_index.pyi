import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from .._rows import Rows

@disjoint_base
class Chunk: ...

@disjoint_base
class FlatIndex:
    @property
    def rows(self) -> Rows: ...
    @property
    def metric(self) -> str: ...
    @property
    def budget(self) -> int: ...
    @property
    def order(self) -> NDArray[np.int64] | None: ...
    @property
    def narrow(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def resident_rows(self) -> int: ...
    def __init__(
        self,
        rows: Rows | NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8],
        metric: str,
        budget: int | None = None,
        block_rows: int | None = None,
        order: NDArray[np.int64] | None = None,
        narrow: bool = False,
    ) -> None: ...
    def __len__(self) -> int: ...
