from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["linear_loss", "losses_on_plane", "relu", "relu_backward", "softmax_loss", "svm_loss"]

def linear_loss(
    W: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    loss: Literal["softmax", "svm"] = "softmax",
    l2: float = 0.0,
    bias: bool = False,
    *,
    margin: float = 1.0,
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    out: NDArray[np.floating] | None = None,
    n_jobs: int | None = None,
) -> tuple[float, NDArray[np.floating]]: ...
def losses_on_plane(
    W: ArrayLike,
    directions: Sequence[ArrayLike],
    coefficients: ArrayLike,
    X: ArrayLike,
    y: ArrayLike,
    loss: Literal["softmax", "svm"] = "softmax",
    l2: float = 0.0,
    bias: bool = False,
    *,
    margin: float = 1.0,
    mean: ArrayLike | None = None,
    scale: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    n_jobs: int | None = None,
) -> NDArray[np.float64]: ...
def relu(
    x: ArrayLike, *, out: NDArray[np.floating] | None = None, n_jobs: int | None = None
) -> NDArray[np.floating]: ...
def relu_backward(
    dout: ArrayLike,
    x: ArrayLike,
    *,
    out: NDArray[np.floating] | None = None,
    n_jobs: int | None = None,
) -> NDArray[np.floating]: ...
def softmax_loss(
    scores: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    out: NDArray[np.floating] | None = None,
    n_jobs: int | None = None,
) -> tuple[float, NDArray[np.floating]]: ...
def svm_loss(
    scores: ArrayLike,
    y: ArrayLike,
    margin: float = 1.0,
    *,
    sample_weight: ArrayLike | None = None,
    out: NDArray[np.floating] | None = None,
    n_jobs: int | None = None,
) -> tuple[float, NDArray[np.floating]]: ...
