import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from ._model import Model

@disjoint_base
class LinearModel(Model):
    def __init__(
        self,
        X: NDArray[np.generic],
        n_outputs: int,
        y: NDArray[np.generic] | None = None,
        loss: str = "softmax",
        margin: float = 1.0,
        alpha: float = 0.0,
        sample_weights: NDArray[np.float64] | None = None,
        mean: NDArray[np.float64] | None = None,
        scale: NDArray[np.float64] | None = None,
        with_bias: bool = True,
        n_threads: int = 1,
    ) -> None: ...
