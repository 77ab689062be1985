from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

__all__ = ["GradientReport", "check_gradient", "numerical_gradient"]

@dataclass(frozen=True)
class GradientReport:
    coordinates: tuple[NDArray[np.int64], ...]
    analytic: NDArray[np.float64]
    numerical: NDArray[np.float64]
    relative_errors: NDArray[np.float64]
    wrong: NDArray[np.bool_]
    kinks: NDArray[np.bool_]
    rtol: float
    @property
    def passed(self) -> bool: ...
    @property
    def max_relative_error(self) -> float: ...

def check_gradient(
    f: Callable[..., Any],
    x: ArrayLike,
    gradient: Callable[..., Any] | ArrayLike | None = None,
    *,
    n_checks: int | None = None,
    h: float = 1e-05,
    rtol: float = 1e-06,
    atol: float | None = None,
    random_state: int | RandomState | None = None,
    n_jobs: int | None = 1,
    raise_on_error: bool = True,
) -> GradientReport: ...
def numerical_gradient(
    f: Callable[..., Any],
    x: ArrayLike,
    h: float = 1e-05,
    scheme: Literal["central", "forward"] = "central",
    *,
    n_jobs: int | None = 1,
) -> NDArray[np.float64]: ...
