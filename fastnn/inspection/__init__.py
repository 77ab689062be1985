"""Displays of what models do, of what they have learned, and of how they got there.

They follow scikit-learn's displays: a class holds the data, `plot` draws them, and `from_estimator`
does both. matplotlib is imported when something is drawn, not before.
"""

from ._curve import LossCurveDisplay
from ._landscape import LossLandscapeDisplay
from ._neighbors import NeighborsDisplay
from ._selection import KSelectionDisplay
from ._speed import SpeedDisplay
from ._weights import WeightsDisplay

__all__ = [
    "KSelectionDisplay",
    "LossCurveDisplay",
    "LossLandscapeDisplay",
    "NeighborsDisplay",
    "SpeedDisplay",
    "WeightsDisplay",
]
