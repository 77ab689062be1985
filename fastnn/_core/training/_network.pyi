from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._model import Model

@disjoint_base
class Network(Model):
    @property
    def has_overflowed(self) -> bool: ...
    def __init__(
        self,
        X: NDArray[np.generic],
        sizes: Sequence[int],
        y: NDArray[np.generic] | None = None,
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
