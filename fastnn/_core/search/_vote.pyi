import numpy as np
from numpy.typing import NDArray

def sum_votes(
    neighbors: NDArray[np.int64],
    labels: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.float64] | None,
    n_threads: int,
) -> NDArray[np.float64]: ...
def predict_for_each_k(
    neighbors: NDArray[np.int64],
    labels: NDArray[np.int64],
    n_classes: int,
    weights: NDArray[np.float64] | None,
    numbers: NDArray[np.int64],
    n_threads: int,
) -> NDArray[np.int64]: ...
def average_targets(
    neighbors: NDArray[np.int64],
    targets: NDArray[np.float64],
    weights: NDArray[np.float64] | None,
    n_threads: int,
) -> NDArray[np.float64]: ...
def neighbors_in_resample(
    neighbors: NDArray[np.int64],
    distances: NDArray[np.float64],
    counts: NDArray[np.int64],
    k: int,
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]: ...
