from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

_Arrays = list[NDArray[np.floating]]

LOSSES: dict[str, int]

@disjoint_base
class Model:
    dtype: np.dtype[np.floating]
    steps: int
    def set_weights(self, weights: Any, biases: Any) -> None: ...
    def get_weights(self) -> tuple[_Arrays, _Arrays]: ...
    def save(self) -> _Arrays: ...
    def restore(self, saved: _Arrays) -> None: ...
    def set_moments(self, moments: tuple[int, _Arrays, _Arrays | None]) -> None: ...
    def get_moments(self) -> tuple[int, _Arrays, _Arrays | None]: ...
    def is_finite(self) -> bool: ...
    def scores(self) -> NDArray[np.floating]: ...
    def loss_and_gradient(
        self, with_gradient: bool = True
    ) -> tuple[float, _Arrays | None, _Arrays | None]: ...
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
