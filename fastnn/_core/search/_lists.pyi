import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

@disjoint_base
class Visits:
    def __init__(
        self,
        starts: NDArray[np.int64],
        lists: NDArray[np.int64],
        n_of_query: NDArray[np.int64],
    ) -> None: ...
