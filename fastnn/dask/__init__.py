"""Neighbors and linear classifiers on Dask: for data beyond one machine, or beyond its memory.

Samples stay where their chunks are, and searches come to them: each chunk gives its own nearest
neighbors, which are merged as `fastnn.neighbors.merge_neighbors` does. So the result is that of
`fastnn.neighbors` on one machine, bit for bit, whatever the chunks are and whichever workers are
lost on the way: every task is a pure function of its arguments, and Dask runs lost ones again.
"""

try:
    import dask.array  # noqa: F401
except ImportError as error:
    raise ImportError(
        "fastnn.dask needs dask and its arrays: pip install 'fastnn-kernels[dask]'"
    ) from error

from ._linear import SoftmaxClassifier, SVMClassifier
from ._neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors

__all__ = [
    "KNeighborsClassifier",
    "KNeighborsRegressor",
    "NearestNeighbors",
    "SVMClassifier",
    "SoftmaxClassifier",
]
