"""
How fast it is here
===================

A small race on the machine that built this page: the median of five turns each. ``fastnn bench
--json`` measures more rows and more peers with the care that this needs; its output goes into
``SpeedDisplay.from_json``.
"""

import statistics
import time

import numpy as np
import sklearn.metrics
import sklearn.neighbors

import fastnn
from fastnn.inspection import SpeedDisplay

rng = np.random.default_rng(0)
samples = rng.standard_normal((20_000, 64), dtype=np.float32)
queries = rng.standard_normal((500, 64), dtype=np.float32)


def median_ms(work):
    times = []
    for _ in range(5):
        start = time.perf_counter()
        work()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def search_with_numpy():
    squares = (samples**2).sum(axis=1) - 2 * queries @ samples.T
    return np.argpartition(squares, 10, axis=1)[:, :10]


theirs = sklearn.neighbors.NearestNeighbors(n_neighbors=10, algorithm="brute").fit(samples)
theirs_l1 = sklearn.neighbors.NearestNeighbors(
    n_neighbors=10, algorithm="brute", metric="l1", n_jobs=-1
).fit(samples)
results = [
    {
        "row": "L2, k = 10",
        "fastnn_ms": median_ms(lambda: fastnn.kneighbors(queries, samples, 10)),
        "peers_ms": {
            "scikit-learn": median_ms(lambda: theirs.kneighbors(queries)),
            "NumPy": median_ms(search_with_numpy),
        },
    },
    {
        "row": "L1, k = 10",
        "fastnn_ms": median_ms(lambda: fastnn.kneighbors(queries, samples, 10, "l1")),
        "peers_ms": {"scikit-learn": median_ms(lambda: theirs_l1.kneighbors(queries))},
    },
]
SpeedDisplay(results=results).plot()
