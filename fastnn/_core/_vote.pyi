import numpy as np
from numpy.typing import NDArray

def sum_votes(
    neighbors: NDArray[np.int64],
    labels: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.float64] | None,
    n_threads: int,
) -> NDArray[np.float64]: ...
