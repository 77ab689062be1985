"""fastnn.pairwise_distances against NumPy and its peers.

All return a new array. Bytes are converted beforehand for the peers that have no distances on them.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import sklearn.metrics.pairwise as sklearn_metrics
from scipy.spatial import distance

import fastnn
import numpy_reference
import oracles

CHECKED_ROWS = 10
# fastnn's promise; in float64 the oracle's own rounding is what is allowed for.
FASTNN_RTOL = {"float32": 1e-7, "float64": 1e-12, "uint8": 1e-15}
# Norm expansion in float32 is off by this share of the largest distance where two rows are close.
PEER_RTOL = 2e-3


@dataclass(frozen=True)
class Case:
    metric: str
    dtype: str
    n_x: int
    # None: the distances within X
    n_y: int | None
    n_features: int

    @property
    def group(self):
        columns = "itself" if self.n_y is None else f"{self.n_y:,}"
        shape = f"{self.n_x:,} to {columns} x {self.n_features:,}"
        return f"pairwise_distances {self.metric}/{self.dtype}/{shape}"

    def __str__(self):
        columns = "itself" if self.n_y is None else self.n_y
        return f"{self.metric}-{self.dtype}-{self.n_x}-{columns}-x{self.n_features}"


DTYPES = ["float32", "float64", "uint8"]
# (n_x, n_y, n_features)
SHAPES = [
    (200, 200, 64),  # in L2
    (500, 500, 784),
    (2_000, 2_000, 32),  # writing the result weighs as much as arithmetic
    (1, 20_000, 128),
    (1_000, None, 128),
]

CASES = [
    *[Case(m, dtype, *shape) for m in ["l2", "l1"] for dtype in DTYPES for shape in SHAPES],
    *[Case("sqeuclidean", dtype, *SHAPES[1]) for dtype in DTYPES],
]


# ---- contestants: each takes (X, Y or None, metric, n_threads) and returns the call to time -----


def as_floats(X):
    return X.astype(np.float32) if X is not None and X.dtype == np.uint8 else X


def fastnn_distances(X, Y, metric, n_threads):
    return lambda: fastnn.pairwise_distances(X, Y, metric, n_jobs=n_threads)


def numpy_distances(X, Y, metric, n_threads):
    Y = X if Y is None else Y
    return lambda: numpy_reference.pairwise_distances(X, Y, metric)


def sklearn_distances(X, Y, metric, n_threads):
    X, Y = as_floats(X), as_floats(Y)
    if metric == "l1":
        return lambda: sklearn_metrics.pairwise_distances(X, Y, "manhattan", n_jobs=n_threads)
    # Its matrix product has threads of its own; n_jobs on top would be slower.
    squared = metric == "sqeuclidean"
    return lambda: sklearn_metrics.euclidean_distances(X, Y, squared=squared)


def scipy_distances(X, Y, metric, n_threads):
    metric = {"l1": "cityblock", "l2": "euclidean"}.get(metric, metric)
    # SciPy works in float64, so that is what suits it.
    X = X.astype(np.float64)
    if Y is None:
        return lambda: distance.squareform(distance.pdist(X, metric))
    Y = Y.astype(np.float64)
    return lambda: distance.cdist(X, Y, metric)


def faiss_distances(X, Y, metric, n_threads):
    faiss = pytest.importorskip("faiss", exc_type=ImportError)
    faiss.omp_set_num_threads(n_threads)
    X = as_floats(X)
    Y = X if Y is None else as_floats(Y)
    kind = faiss.METRIC_L1 if metric == "l1" else faiss.METRIC_L2

    def distances():
        result = faiss.pairwise_distances(X, Y, kind)
        if metric == "l2":
            np.sqrt(np.maximum(result, 0.0, out=result), out=result)
        return result

    return distances


def torch_distances(X, Y, metric, n_threads):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    torch.set_num_threads(n_threads)
    x = torch.from_numpy(as_floats(X))
    y = x if Y is None else torch.from_numpy(as_floats(Y))
    p = 1.0 if metric == "l1" else 2.0
    if metric == "sqeuclidean":
        return lambda: torch.cdist(x, y, p).square_().numpy()
    return lambda: torch.cdist(x, y, p).numpy()


DISTANCES = {
    "fastnn": fastnn_distances,
    "numpy": numpy_distances,
    "sklearn": sklearn_distances,
    "scipy": scipy_distances,
    "faiss": faiss_distances,
    "torch": torch_distances,
}


def contestants_for(case):
    """Return the names of those that can do this work."""
    # faiss has float32 only: with float64 it would answer another question.
    return [name for name in DISTANCES if not (name == "faiss" and case.dtype == "float64")]


# ---- the benches --------------------------------------------------------------------------------


@dataclass
class Problem:
    """A case's data and, for some of the rows, the truth."""

    X: np.ndarray
    Y: np.ndarray | None
    checked: np.ndarray
    distances: np.ndarray

    def check(self, contestant, result):
        rows = result[self.checked]
        if contestant == "fastnn":
            rtol = FASTNN_RTOL[self.X.dtype.name]
            np.testing.assert_allclose(rows, self.distances, rtol=rtol)
        else:
            atol = PEER_RTOL * self.distances.max()
            np.testing.assert_allclose(rows, self.distances, rtol=PEER_RTOL, atol=atol)


@pytest.fixture(scope="module")
def pose(draw):
    """Return pose(case), which keeps the last problem: a case's contestants come in succession."""

    @lru_cache(maxsize=1)
    def problem(case):
        X = draw(1, case.n_x, case.n_features, case.dtype)
        Y = None if case.n_y is None else draw(2, case.n_y, case.n_features, case.dtype)
        checked = np.unique(np.linspace(0, len(X) - 1, CHECKED_ROWS).astype(int))
        truth = oracles.distances(X[checked], X if Y is None else Y, case.metric)
        return Problem(X, Y, checked, truth)

    return problem


@pytest.mark.parametrize(
    ("case", "contestant"),
    [
        pytest.param(case, name, id=f"{case}-{name}")
        for case in CASES
        for name in contestants_for(case)
    ],
)
def test_pairwise_distances(case, contestant, pose, n_threads, measure):
    problem = pose(case)
    call = DISTANCES[contestant](problem.X, problem.Y, case.metric, n_threads)
    measure(case.group, contestant, call, lambda result: problem.check(contestant, result))
