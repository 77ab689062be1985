import numpy as np
from numpy.typing import NDArray

def find_label_outside(labels: NDArray[np.int64], n_classes: int) -> int: ...
def sum_losses(
    scores: NDArray[np.floating],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    loss: str,
    margin: float,
    gradient: NDArray[np.floating],
    n_threads: int,
) -> float: ...
def losses_of_combinations(
    terms: NDArray[np.floating],
    coefficients: NDArray[np.float64],
    labels: NDArray[np.int64],
    weights: NDArray[np.float64],
    loss: str,
    margin: float,
    n_threads: int,
) -> NDArray[np.float64]: ...
def where_positive(
    x: NDArray[np.floating],
    values: NDArray[np.floating],
    out: NDArray[np.floating],
    n_threads: int,
) -> None: ...
