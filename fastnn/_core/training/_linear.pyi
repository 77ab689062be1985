from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

def pack_strips(matrix: NDArray[np.floating]) -> NDArray[np.floating]: ...
def unpack_strips(packed: NDArray[np.floating], n_rows: int) -> NDArray[np.floating]: ...

@disjoint_base
class LinearModel:
    dtype: np.dtype[np.floating]
    def __init__(
        self,
        X: NDArray[np.generic],
        n_classes: int,
        labels: NDArray[np.int64] | None = None,
        loss: str = "softmax",
        margin: float = 1.0,
        l2: float = 0.0,
        sample_weights: NDArray[np.float64] | None = None,
        mean: NDArray[np.float64] | None = None,
        scale: NDArray[np.float64] | None = None,
        with_offsets: bool = True,
        n_threads: int = 1,
    ) -> None: ...
    def set_weights(self, W: NDArray[np.floating], offsets: NDArray[np.floating]) -> None: ...
    def get_weights(self) -> tuple[NDArray[np.floating], NDArray[np.float64]]: ...
    def set_moments(self, moments: tuple[NDArray[np.floating], NDArray[np.float64]]) -> None: ...
    def get_moments(self) -> tuple[NDArray[np.floating], NDArray[np.float64]]: ...
    def scores(self) -> NDArray[np.floating]: ...
    def loss_and_gradient(
        self, with_gradient: bool = True
    ) -> tuple[float, NDArray[np.floating] | None, NDArray[np.float64] | None]: ...
    def train(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        rates: NDArray[np.float64],
        momentum: float = 0.0,
        nesterov: bool = False,
        progress: Callable[[int], object] | None = None,
    ) -> float: ...
