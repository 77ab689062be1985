"""Where the tree is quicker than the exhaustive search, and whether "auto" knows.

    python bench/sweep_trees.py [FILE]

For uniform and for clustered float32 samples, numbers of features, of samples and of queries: the
medians of whole searches, build included, by each kind in turns. Prints a table, and writes the
milliseconds to a CSV file if one is named. Takes half an hour. `docs/gallery/plot_tree_choice.py`
draws them.
"""

import csv
import itertools
import statistics
import sys
import time

import numpy as np

import fastnn
from contest import N_THREADS
from rows_trees import clustered, uniform

DATA = (uniform, clustered)
QUERIES = (1000, 20_000)
FEATURES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
SAMPLES = (1000, 10_000, 100_000, 1_000_000)
K = 10
KINDS = ("auto", "brute", "kd_tree")
# Turns, and seconds after which there are no more; but three there are.
TURNS, SECONDS = 9, 3.0


def medians(X, Y):
    """Return milliseconds of each kind."""
    times = {kind: [] for kind in KINDS}
    start = time.perf_counter()
    for turn in range(TURNS):
        if turn >= 3 and time.perf_counter() - start > SECONDS:
            break
        for kind in KINDS:
            began = time.perf_counter()
            fastnn.kneighbors(X, Y, K, algorithm=kind, n_jobs=N_THREADS)
            times[kind].append(1e3 * (time.perf_counter() - began))
    return {kind: statistics.median(of_kind) for kind, of_kind in times.items()}


def sweep():
    """Yield (data, queries, features, samples, milliseconds of each kind of search)."""
    print("| data | queries | features | samples | brute | tree | auto | auto, of the better |")
    print("|---|---|---|---|---|---|---|---|")
    for make, n_queries, d, n in itertools.product(DATA, QUERIES, FEATURES, SAMPLES):
        both = make(np.random.default_rng(0), n + n_queries, d).astype(np.float32)
        times = medians(both[n:], both[:n])
        best = min(times["brute"], times["kd_tree"])
        cells = [make.__name__, f"{n_queries:,}", d, f"{n:,}"]
        cells += [f"{times[kind]:.3g} ms" for kind in ("brute", "kd_tree", "auto")]
        print("|", " | ".join(map(str, cells)), f"| {times['auto'] / best:.2f} |", flush=True)
        yield make.__name__, n_queries, d, n, times


def main(path=None):
    results = list(sweep())
    if path:
        with open(path, "w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["data", "queries", "features", "samples", *KINDS])
            for *shape, times in results:
                table.writerow([*shape, *(f"{times[kind]:.4g}" for kind in KINDS)])


if __name__ == "__main__":
    main(*sys.argv[1:])
