from collections.abc import Callable
from typing import TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from ._tree import Tree

_Rows: TypeAlias = NDArray[np.float32] | NDArray[np.float64] | NDArray[np.uint8]
_Slice: TypeAlias = tuple[NDArray[np.int64], NDArray[np.float64] | None, NDArray[np.int64]]

LEAF_SAMPLES: int
MAX_SORTED_NEIGHBORS: int

@final
class SearchMemory: ...

@final
class KDTree(Tree):
    def leaves_where(self, mask: NDArray[np.bool_]) -> NDArray[np.uint32] | None: ...
    def kneighbors(
        self,
        X: _Rows,
        k: int,
        n_threads: int,
        advance: Callable[[float], object] | None = None,
        exclude_self: bool = False,
        leaves: NDArray[np.uint32] | None = None,
        max_distance: float = ...,
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], int] | None: ...
    def radius_neighbors(
        self,
        X: _Rows,
        radius: float,
        n_threads: int,
        sort_results: bool = False,
        exclude_self: bool = False,
        with_distances: bool = True,
        leaves: NDArray[np.uint32] | None = None,
        radii: NDArray[np.float64] | None = None,
    ) -> list[_Slice] | None: ...
    def count_within(
        self,
        X: _Rows,
        radii: NDArray[np.float64],
        n_threads: int,
        leaves: NDArray[np.uint32] | None = None,
    ) -> NDArray[np.int64] | None: ...
