import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

@disjoint_base
class Visits:
    def __init__(
        self,
        starts: NDArray[np.int64],
        lists: NDArray[np.int64],
        scores: NDArray[np.float64],
        n_probes: float,
    ) -> None: ...

def list_scores(
    distances: NDArray[np.float64],
    lists: NDArray[np.int64],
    sizes: NDArray[np.float64],
    n_first: float,
) -> NDArray[np.float64]: ...
