"""fastnn.kneighbors against NumPy and its peers.

Peers get their data in the form that suits them and their indexes built: neither is timed, whereas
fastnn's and NumPy's calls include all that they do.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pytest
import sklearn.neighbors

import fastnn
import numpy_reference
import oracles

CHECKED_QUERIES = 10
# Values that torch may hold of the matrix of distances, as it has no fused search: 64 MiB.
TORCH_CHUNK_VALUES = 1 << 24


@dataclass(frozen=True)
class Case:
    metric: str
    dtype: str
    n_samples: int
    n_features: int
    n_queries: int
    k: int = 10

    @property
    def group(self):
        queries = "1 query" if self.n_queries == 1 else f"{self.n_queries:,} queries"
        shape = f"{queries} on {self.n_samples:,} x {self.n_features:,}"
        return f"kneighbors {self.metric} k={self.k}/{self.dtype}/{shape}"

    def __str__(self):
        shape = f"{self.n_queries}q-{self.n_samples}x{self.n_features}"
        return f"{self.metric}-{self.dtype}-{shape}-k{self.k}"


DTYPES = ["float32", "float64", "uint8"]
# (n_samples, n_features, n_queries)
SHAPES = [
    (2_000, 64, 200),  # in L2
    (20_000, 128, 200),
    (5_000, 784, 100),
    (50_000, 16, 200),  # selection weighs as much as arithmetic
    (1_000, 64, 1),  # the cost of the call itself
    (100_000, 128, 1),  # out of cache: the time is that of reading the samples
]
MIDDLE = SHAPES[1]
# Under L1 most of the peers take ten times as long; half the queries keep the run short.
SHAPES_L1 = [(n, d, max(1, n_queries // 2)) for n, d, n_queries in SHAPES]
MIDDLE_L1 = SHAPES_L1[1]

CASES = [
    *[Case("l2", dtype, *shape) for dtype in DTYPES for shape in SHAPES],
    *[Case("l1", dtype, *shape) for dtype in DTYPES for shape in SHAPES_L1],
    *[Case(m, "uint8", 5_000, 3_072, 50) for m in ["l2", "l1"]],
    *[Case("l2", dtype, *MIDDLE, k) for dtype in ["float32", "uint8"] for k in [1, 100]],
    *[Case("l1", "float32", *MIDDLE_L1, k) for k in [1, 100]],
    *[Case("sqeuclidean", dtype, *MIDDLE) for dtype in DTYPES],
]


# ---- contestants: each takes (X, Y, k, metric, n_threads) and returns the call to time ----------


def as_floats(X):
    """Bytes as float32, for the peers that have no search on bytes."""
    return X.astype(np.float32) if X.dtype == np.uint8 else X


def from_squares(squares, metric):
    """What a peer's squared distances stand for; rounding may have made them negative."""
    return np.sqrt(np.maximum(squares, 0.0)) if metric == "l2" else squares


def fastnn_search(X, Y, k, metric, n_threads):
    return lambda: fastnn.kneighbors(X, Y, k, metric, n_jobs=n_threads)


def numpy_search(X, Y, k, metric, n_threads):
    return lambda: numpy_reference.kneighbors(X, Y, k, metric)


def nearest_neighbors_search(module, X, Y, k, metric, n_threads):
    X, Y = as_floats(X), as_floats(Y)
    metric = {"l1": "manhattan", "l2": "euclidean"}.get(metric, metric)
    model = module.NearestNeighbors(
        n_neighbors=k, algorithm="brute", metric=metric, n_jobs=n_threads
    )
    model.fit(Y)
    return lambda: model.kneighbors(X)


def sklearn_search(*arguments):
    return nearest_neighbors_search(sklearn.neighbors, *arguments)


def sklearnex_search(*arguments):
    module = pytest.importorskip("sklearnex.neighbors", exc_type=ImportError)
    return nearest_neighbors_search(module, *arguments)


def faiss_search(X, Y, k, metric, n_threads):
    faiss = pytest.importorskip("faiss", exc_type=ImportError)
    faiss.omp_set_num_threads(n_threads)
    X, Y = as_floats(X), as_floats(Y)
    index = faiss.IndexFlat(Y.shape[1], faiss.METRIC_L1 if metric == "l1" else faiss.METRIC_L2)
    index.add(Y)

    def search():
        distances, indices = index.search(X, k)
        return from_squares(distances, metric), indices

    return search


def torch_search(X, Y, k, metric, n_threads):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    torch.set_num_threads(n_threads)
    queries, samples = torch.from_numpy(as_floats(X)), torch.from_numpy(as_floats(Y))
    chunks = queries.split(max(1, TORCH_CHUNK_VALUES // len(Y)))
    p = 1.0 if metric == "l1" else 2.0

    def search():
        parts = [torch.cdist(chunk, samples, p).topk(k, largest=False) for chunk in chunks]
        distances = np.concatenate([part.values.numpy() for part in parts])
        if metric == "sqeuclidean":
            distances *= distances
        return distances, np.concatenate([part.indices.numpy() for part in parts])

    return search


def usearch_search(X, Y, k, metric, n_threads):
    index = pytest.importorskip("usearch.index", exc_type=ImportError)
    dtype = {"float32": "f32", "uint8": "u8"}[X.dtype.name]

    def search():
        found = index.search(Y, X, k, "l2sq", exact=True, threads=n_threads, dtype=dtype)
        distances = found.distances.reshape(len(X), k)  # 1-D for a single query
        return from_squares(distances, metric), found.keys.reshape(len(X), k)

    return search


SEARCHES = {
    "fastnn": fastnn_search,
    "numpy": numpy_search,
    "sklearn": sklearn_search,
    "sklearnex": sklearnex_search,
    "faiss": faiss_search,
    "torch": torch_search,
    "usearch": usearch_search,
}


def contestants_for(case):
    """Return the names of those that can do this work."""
    names = list(SEARCHES)
    if case.dtype == "float64":
        # They give float32 distances: the answer to another question.
        names.remove("faiss")
        names.remove("usearch")
    elif case.metric == "l1":
        names.remove("usearch")
    return names


# ---- the benches --------------------------------------------------------------------------------


@dataclass
class Problem:
    """A case's data and, for some of the queries, the truth."""

    X: np.ndarray
    Y: np.ndarray
    checked: np.ndarray
    distances: np.ndarray
    indices: np.ndarray

    def check(self, contestant, result):
        """Hold fastnn to the oracle's indices, others (ties, float32) to its distances, roughly."""
        distances, indices = (np.asarray(array)[self.checked] for array in result)
        if contestant == "fastnn":
            np.testing.assert_array_equal(indices, self.indices)
            np.testing.assert_allclose(distances, self.distances, rtol=1e-12)
        else:
            np.testing.assert_allclose(distances, self.distances, rtol=1e-3)


@pytest.fixture(scope="module")
def pose(draw):
    """Return pose(case), which keeps the last problem: a case's contestants come in succession."""

    @lru_cache(maxsize=1)
    def problem(case):
        X = draw(1, case.n_queries, case.n_features, case.dtype)
        Y = draw(2, case.n_samples, case.n_features, case.dtype)
        checked = np.unique(np.linspace(0, len(X) - 1, CHECKED_QUERIES).astype(int))
        truth = oracles.kneighbors(X[checked], Y, case.k, case.metric)
        return Problem(X, Y, checked, *truth)

    return problem


@pytest.mark.parametrize(
    ("case", "contestant"),
    [
        pytest.param(case, name, id=f"{case}-{name}")
        for case in CASES
        for name in contestants_for(case)
    ],
)
def test_kneighbors(case, contestant, pose, n_threads, measure):
    problem = pose(case)
    call = SEARCHES[contestant](problem.X, problem.Y, case.k, case.metric, n_threads)
    measure(case.group, contestant, call, lambda result: problem.check(contestant, result))
