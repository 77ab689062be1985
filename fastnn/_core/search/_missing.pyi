from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

@disjoint_base
class RowsWithMissing:
    def __init__(self, values: NDArray[np.float64], n_threads: int) -> None: ...
    def __len__(self) -> int: ...
    @property
    def n_rows(self) -> int: ...
    @property
    def n_features(self) -> int: ...
    @property
    def n_blocks(self) -> int: ...
    @property
    def nbytes(self) -> int: ...

@disjoint_base
class Comparison: ...

@disjoint_base
class Lists(Comparison): ...

@disjoint_base
class Matrix(Comparison): ...

def find_present_neighbors(
    X: NDArray[np.float64],
    Y: RowsWithMissing,
    k: int,
    starts: NDArray[np.int64],
    wanted: NDArray[np.int64],
    n_threads: int,
    advance: Callable[[float], object] | None = None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]: ...
def fill_present_distances(
    X: NDArray[np.float64],
    Y: RowsWithMissing,
    out: NDArray[np.float64],
    squared: bool,
    n_threads: int,
) -> None: ...
