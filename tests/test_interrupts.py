"""Ctrl-C and progress, one contract: every call that can last looks at the clock.

Each call runs in a child process, which gets Ctrl-C in the middle of a kernel. It ends with
KeyboardInterrupt, long before it would be done; where it has a progress bar, that has moved before.
No time is asserted; `python tests/test_interrupts.py` prints how long each takes to end.
"""

import statistics
import sys
import time

import pytest

import children

SETUP = """
import numpy as np
import fastnn
from fastnn.model_selection import KNeighborsClassifierCV
from fastnn.neural_network import MLPClassifier
rng = np.random.default_rng(0)

def uniform(n, d, dtype=np.float32):
    return rng.random((n, d), dtype=np.float32).astype(dtype, copy=False)
"""

# Data, and a call that takes two fast cores seconds at least.
LONG_CALLS = {
    "brute": ("X = uniform(100_000, 256)", "fastnn.kneighbors(X, X, 10, verbose=1)"),
    "brute, one thread": (
        "X = uniform(50_000, 256)",
        "fastnn.kneighbors(X, X, 10, algorithm='brute', n_jobs=1, verbose=1)",
    ),
    "brute, bytes": (
        "X = rng.integers(0, 256, (60_000, 2000), dtype=np.uint8)",
        "fastnn.kneighbors(X, X, 10, 'l1', algorithm='brute', verbose=1)",
    ),
    "near-ties": (
        "X = np.ones((50_000, 64), dtype=np.float32)",
        "fastnn.kneighbors(X, X, 10, algorithm='brute', verbose=1)",
    ),
    "chebyshev": ("X = uniform(60_000, 64)", "fastnn.kneighbors(X, X, 10, 'chebyshev', verbose=1)"),
    "bounded": (
        "X = (uniform(60_000, 12) @ uniform(12, 1000)).astype(np.float32)",
        "fastnn.kneighbors(X, X, 10, algorithm='bounded', verbose=1)",
    ),
    "kd_tree": (
        "X = uniform(3_000_000, 3)",
        "fastnn.kneighbors(X, X, 40, algorithm='kd_tree', verbose=1)",
    ),
    "ivf": (
        "X = uniform(300_000, 64)",
        "fastnn.kneighbors(X, X, 10, algorithm='ivf', recall=0.9, verbose=1)",
    ),
    "building a tree": (
        "X = uniform(12_000_000, 6)",
        "fastnn.kneighbors(X, X, 40, algorithm='kd_tree', n_jobs=1, verbose=1)",
    ),
    "radius": (
        "X = uniform(100_000, 40)",
        "fastnn.neighbors.NearestNeighbors(radius=1.0).fit(X).radius_neighbors(X)",
    ),
    "radius, tree": (
        "X = uniform(2_000_000, 3)",
        "fastnn.neighbors.NearestNeighbors(radius=0.02).fit(X).radius_neighbors_graph()",
    ),
    "graph": ("X = uniform(100_000, 60)", "fastnn.neighbors.kneighbors_graph(X, 15)"),
    "pairwise, 1 feature": (
        "X = uniform(20_000, 1)",
        "fastnn.pairwise_distances(X, X[::-1], 'l1', n_jobs=1)",
    ),
    "pairwise, 200 features": (
        "X = uniform(12_000, 200)",
        "fastnn.pairwise_distances(X, X[::-1], 'l1', n_jobs=1)",
    ),
    "pairwise, 2,000 features": (
        "X = uniform(10_000, 2000)",
        "fastnn.pairwise_distances(X, X[::-1], n_jobs=1)",
    ),
    "pairwise, rows": (
        "X = uniform(10_000, 500)",
        "fastnn.pairwise_distances(X, X[::-1], 'chebyshev', n_jobs=1)",
    ),
    "choosing k": (
        "X, y = uniform(60_000, 100), rng.integers(0, 10, 60_000)",
        "KNeighborsClassifierCV(range(1, 30), cv='loo', verbose=1).fit(X, y)",
    ),
    "an epoch of a linear model": (
        "X, y = np.tile(rng.integers(0, 256, (100, 3000), dtype=np.uint8), (400, 1)),"
        " rng.integers(0, 100, 40_000)",
        "fastnn.linear_model.SVMClassifier(max_iter=99, tol=None, n_jobs=1, verbose=1).fit(X, y)",
    ),
    "an epoch of a network": (
        "X, y = np.tile(rng.integers(0, 256, (100, 3000), dtype=np.uint8), (200, 1)),"
        " rng.integers(0, 10, 20_000)",
        "MLPClassifier((900,), max_iter=99, tol=None, verbose=1).fit(X, y)",
    ),
    "scores of a network": (
        "X, y = uniform(100, 2000), rng.integers(0, 10, 100)\n"
        "model = MLPClassifier((2000, 2000), max_iter=1, tol=None).fit(X, y)\n"
        "X = np.tile(X, (300, 1))",
        "model.predict(X)",
    ),
    "a landscape": (
        "X, y = uniform(20_000, 20), rng.integers(0, 10, 20_000)\n"
        "W, points = uniform(10, 20), uniform(10_000, 2)",
        "fastnn.losses.losses_on_plane(W, [W, -W], points, X, y, n_jobs=1)",
    ),
    "a circuit": (
        "from fastnn.circuit import Circuit, Unit\n"
        "x = f = Unit(0.0)\n"
        "for _ in range(300):\n"
        "    f = (f + x).tanh()\n"
        "circuit, X = Circuit(f, n_jobs=1), np.ones((5_000_000, 1))",
        "circuit.forward(X)",
    ),
}

needs_signals = pytest.mark.skipif(sys.platform == "win32", reason="signals are sent the POSIX way")


def program(name):
    data, call = LONG_CALLS[name]
    return f"{SETUP}\n{data}\ntell_when_in_a_kernel()\n{call}\nprint('finished', flush=True)"


@needs_signals
@pytest.mark.parametrize("name", LONG_CALLS)
def test_interrupts_and_progress(name):
    percent_or_count = (
        r"\b[1-9]\d?%|\b0%\|[^|]*\| *[1-9]" if "verbose" in LONG_CALLS[name][1] else None
    )
    out, error = children.interrupt(program(name), after=percent_or_count)
    assert "KeyboardInterrupt" in error
    assert "finished" not in out


def measure(name, turns=3):
    """Return the median of the seconds from Ctrl-C to the end of the program."""
    seconds = []
    for _ in range(turns):
        process = children.start(
            children.HEAR_CTRL_C + children.TELL_WHEN_IN_A_KERNEL + program(name)
        )
        process.stdout.readline()
        start = time.perf_counter()
        process.send_signal(2)
        process.stderr.read()
        seconds.append(time.perf_counter() - start)
        children.finish(process)
    return statistics.median(seconds)


if __name__ == "__main__":
    for name in sys.argv[1:] or LONG_CALLS:
        print(f"{name:30s} {measure(name):.3f} s", flush=True)
