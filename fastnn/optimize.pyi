from collections.abc import Callable
from typing import Any, Literal

from numpy.random import RandomState
from numpy.typing import ArrayLike
from scipy.optimize import OptimizeResult

__all__ = ["gradient_descent", "random_local_search", "random_search", "sgd"]

def gradient_descent(
    loss: Callable[..., Any],
    x0: ArrayLike,
    *,
    step_size: float | Callable[[int], float],
    max_iter: int = 100,
    gradient: Literal[True] | Callable[..., Any] | None = True,
    momentum: float = 0.0,
    nesterov: bool = False,
    tol: float = 0.0,
    callback: Callable[..., object] | None = None,
) -> OptimizeResult: ...
def random_local_search(
    loss: Callable[..., Any],
    x0: ArrayLike,
    *,
    step_size: float,
    n_trials: int = 1000,
    random_state: int | RandomState | None = None,
    callback: Callable[..., object] | None = None,
) -> OptimizeResult: ...
def random_search(
    loss: Callable[..., Any],
    x0: ArrayLike,
    *,
    step_size: float,
    n_trials: int = 1000,
    random_state: int | RandomState | None = None,
    callback: Callable[..., object] | None = None,
) -> OptimizeResult: ...
def sgd(
    loss: Callable[..., Any],
    x0: ArrayLike,
    n_samples: int,
    *,
    step_size: float | Callable[[int], float],
    batch_size: int = 256,
    max_iter: int = 10,
    momentum: float = 0.0,
    nesterov: bool = False,
    shuffle: bool = True,
    random_state: int | RandomState | None = None,
    callback: Callable[..., object] | None = None,
) -> OptimizeResult: ...
