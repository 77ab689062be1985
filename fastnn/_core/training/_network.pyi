from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

@disjoint_base
class Network:
    dtype: np.dtype[np.floating]
    steps: int
    @property
    def has_overflowed(self) -> bool: ...
    def __init__(
        self,
        X: NDArray[np.generic],
        sizes: Sequence[int],
        labels: NDArray[np.int64] | None = None,
        loss: str = "softmax",
        activation: str = "relu",
        alpha: float = 0.0,
        dropout: float = 0.0,
        seed: int = 0,
        mean: NDArray[np.float64] | None = None,
        scale: float = 1.0,
        sample_weights: NDArray[np.float64] | None = None,
        n_threads: int = 1,
    ) -> None: ...
    def set_weights(
        self, weights: Sequence[NDArray[np.floating]], offsets: Sequence[NDArray[np.floating]]
    ) -> None: ...
    def get_weights(
        self,
    ) -> tuple[list[NDArray[np.floating]], list[NDArray[np.floating]]]: ...
    def get_moments(self) -> list[Any]: ...
    def set_moments(self, moments: list[Any]) -> None: ...
    def scores(self) -> NDArray[np.floating]: ...
    def loss_and_gradient(
        self, with_gradient: bool = True
    ) -> tuple[float, list[NDArray[np.float64]] | None, list[NDArray[np.float64]] | None]: ...
    def train(
        self,
        order: NDArray[np.int64],
        batch_size: int,
        rates: NDArray[np.float64],
        momentum: float = 0.0,
        nesterov: bool = False,
        adam: tuple[float, float, float] | None = None,
        progress: Callable[[int], object] | None = None,
    ) -> tuple[float, float]: ...
