from collections.abc import Callable, Sequence
from os import PathLike
from typing import Any, Literal, Self

from numpy.random import RandomState
from numpy.typing import ArrayLike

__all__ = [
    "KSelectionDisplay",
    "LossCurveDisplay",
    "LossLandscapeDisplay",
    "NeighborsDisplay",
    "SpeedDisplay",
    "WeightsDisplay",
]

class KSelectionDisplay:
    def __init__(
        self,
        *,
        n_neighbors: ArrayLike,
        scores: dict[str, Any],
        score_name: str = "Score",
        best: tuple[str, int] | None = None,
    ) -> None: ...
    def plot(self, ax: Any = None, **kwargs: Any) -> Self: ...
    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None, **kwargs: Any) -> Self: ...

class LossCurveDisplay:
    def __init__(
        self, *, losses: ArrayLike, validation_scores: ArrayLike | None = None, step: str = "Epoch"
    ) -> None: ...
    def plot(
        self, ax: Any = None, *, validation_kwargs: dict[str, Any] | None = None, **kwargs: Any
    ) -> Self: ...
    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        validation_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Self: ...

class LossLandscapeDisplay:
    def __init__(
        self,
        *,
        distances: ArrayLike,
        losses: Any,
        center_loss: float | None = None,
        directions: Sequence[ArrayLike] | None = None,
    ) -> None: ...
    def plot(self, ax: Any = None, **kwargs: Any) -> Self: ...
    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_directions: Literal[1, 2] = 1,
        distance: float = 1.0,
        n_points: int = 41,
        random_state: int | RandomState | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self: ...
    @classmethod
    def from_loss(
        cls,
        loss: Callable[..., Any],
        W: ArrayLike,
        *,
        directions: Any = None,
        n_directions: Literal[1, 2] = 1,
        distance: float = 1.0,
        n_points: int = 41,
        random_state: int | RandomState | None = None,
        ax: Any = None,
        **kwargs: Any,
    ) -> Self: ...

class NeighborsDisplay:
    def __init__(
        self,
        *,
        queries: ArrayLike,
        neighbors: ArrayLike,
        distances: ArrayLike,
        query_labels: ArrayLike | None = None,
        neighbor_labels: ArrayLike | None = None,
        predictions: ArrayLike | None = None,
        image_shape: Any = None,
    ) -> None: ...
    def plot(self, axes: ArrayLike | None = None, **kwargs: Any) -> Self: ...
    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        n_neighbors: int | None = None,
        image_shape: Any = None,
        class_names: Any = None,
        axes: Any = None,
        **kwargs: Any,
    ) -> Self: ...

class SpeedDisplay:
    def __init__(self, *, results: Any) -> None: ...
    def plot(self, ax: Any = None, **kwargs: Any) -> Self: ...
    @classmethod
    def from_json(cls, path: str | PathLike[str], *, ax: Any = None, **kwargs: Any) -> Self: ...

class WeightsDisplay:
    def __init__(
        self, *, weights: ArrayLike, image_shape: Any = None, class_names: Any = None
    ) -> None: ...
    def plot(self, ax: Any = None, *, n_columns: int = 5, **kwargs: Any) -> Self: ...
    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: Any = None,
        class_names: Any = None,
        ax: Any = None,
        n_columns: Any = 5,
        **kwargs: Any,
    ) -> Self: ...
