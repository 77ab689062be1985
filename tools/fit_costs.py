"""Measure what steps of a search cost on this machine, for the table in fastnn/_search/costs.py.

    python tools/fit_costs.py [--isa avx2]

Prints the constants as they stand there: times of one thread, on an otherwise idle machine. Costs
of pairs are fitted to a + b n_features with relative errors, over shapes from one feature to
thousands; those of trees to one cloud of each of a few shapes.
"""

import argparse
import statistics
import time

import numpy as np

import fastnn
from fastnn._core.search._flat import find_neighbors
from fastnn._core.search._index import FlatIndex
from fastnn._core.search._kd_tree import LEAF_SAMPLES, KDTree

FEATURES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64, 128, 256, 784, 3072)
METRICS = ("l1", "l2", "chebyshev")
VALUES = 4_000_000
N_QUERIES = 256
K = 5


def median_time(call, turns=5):
    call()
    times = []
    for _ in range(turns):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def make_rows(rng, n, d, type_):
    if type_ == "u":
        return rng.integers(0, 256, (n, d), dtype=np.uint8)
    return rng.standard_normal((n, d), np.float32)


def fit_line(x, y):
    """Return (a, b) of y = a + b x with the least relative errors; neither below 0."""
    A = np.column_stack([1.0 / y, x / y])
    a, b = np.linalg.lstsq(A, np.ones_like(y), rcond=None)[0]
    return max(a, 0.0), max(b, 0.0)


def pair_costs(metric, type_):
    """Return nanoseconds of a pair by number of features."""
    rng, times = np.random.default_rng(0), []
    for d in FEATURES:
        n = min(100_000, max(2000, VALUES // d))
        Y, X = make_rows(rng, n, d, type_), make_rows(rng, N_QUERIES, d, type_)
        index = FlatIndex(Y, metric)
        find_neighbors(X, index, K, metric, 1)  # the second search packs the samples
        seconds = median_time(lambda X=X, index=index: find_neighbors(X, index, K, metric, 1))
        times.append(1e9 * seconds / (n * N_QUERIES))
    return np.array(times)


def tree_costs():
    """Return nanoseconds of a visited sample, and (a, b) of a sample on a level of halving."""
    rng, points, splits = np.random.default_rng(0), [], []
    shapes = [(100_000, d) for d in (2, 3, 5, 8, 12)]
    for n, d in shapes:
        Y, X = rng.random((n, d), np.float32), rng.random((2000, d), np.float32)
        levels = np.log2(n / LEAF_SAMPLES)
        splits.append(1e9 * median_time(lambda Y=Y: KDTree(Y, "l2", 1), 3) / (n * levels))
        tree = KDTree(Y, "l2", 1)
        seconds = median_time(lambda X=X, tree=tree: tree.kneighbors(X, K, 1))
        points.append(1e9 * seconds / tree.kneighbors(X, K, 1)[2])
    return statistics.median(points), fit_line(np.array([d for _, d in shapes]), np.array(splits))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--isa", choices=fastnn.available_isas(), default=fastnn.get_isa())
    fastnn.set_isa(parser.parse_args().isa)
    print(f"{fastnn.get_isa()}:\n    tile_pair={{")
    for metric in METRICS:
        for type_ in "fu" if metric != "chebyshev" else "f":
            costs = pair_costs(metric, type_)
            a, b = fit_line(np.array(FEATURES), costs)
            worst = np.abs((a + b * np.array(FEATURES)) / costs - 1).max()
            print(f'        ("{metric}", "{type_}"): ({a:.3g}, {b:.3g}),  # within {worst:.0%}')
            print(
                "        #",
                ", ".join(f"{d}: {c:.3g}" for d, c in zip(FEATURES, costs, strict=True)),
            )
    print("    },")
    point, (split, split_feature) = tree_costs()
    print(f"    tree_point={point:.2g}, split={split:.2g}, split_feature={split_feature:.2g},")


if __name__ == "__main__":
    main()
