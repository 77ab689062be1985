"""What the benches share: the data, the number of threads, and the way a contestant is timed."""

import sys
from pathlib import Path

import numpy as np
import pytest
from joblib import cpu_count
from threadpoolctl import threadpool_limits

HERE = Path(__file__).parent
# pytest's importlib mode leaves sys.path alone, and the benches import numpy_reference.
sys.path.insert(0, str(HERE))

# Two threads show that a contestant parallelizes, on any machine that it is worth asking of.
N_THREADS = min(2, cpu_count())


def pytest_collection_modifyitems(items):
    """Let peers warn: pyproject.toml turns warnings into errors, which is for our own tests."""
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("default"))


@pytest.fixture(scope="session")
def n_threads():
    """The number of threads that every contestant gets."""
    return N_THREADS


@pytest.fixture(scope="session")
def draw():
    """Return draw(seed, n, d, dtype), which gives the same random rows on every call.

    Normal values and uniform bytes have no structure that would let a search skip work, so that
    figures on them are the lowest ones.
    """

    def rows(seed, n, d, dtype):
        rng = np.random.default_rng(seed)
        if dtype == "uint8":
            return rng.integers(0, 256, (n, d), dtype=np.uint8)
        return rng.standard_normal((n, d), dtype=np.float64).astype(dtype)

    return rows


@pytest.fixture
def measure(benchmark):
    """Return measure(group, contestant, call, check), which times a call once its result is right.

    Libraries that the contestant has loaded just now are under the thread limit too, which is why
    it is set here and not once for all.
    """

    def run(group, contestant, call, check):
        benchmark.group = group
        benchmark.name = contestant
        with threadpool_limits(N_THREADS):
            check(call())
            benchmark(call)

    return run
