"""Where the tree is quicker than the exhaustive search, and whether "auto" knows.

    python bench/sweep_trees.py [IMAGE]

For uniform and for clustered float32 samples, numbers of features and of samples: the medians of
whole searches, build included, of a thousand queries, by each kind in turns. Prints a table, and
draws it if an image is named.
"""

import statistics
import sys
import time

import numpy as np

import fastnn
from contest import N_THREADS
from rows_trees import clustered, uniform

FEATURES = (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
SAMPLES = (1000, 10_000, 100_000, 1_000_000)
QUERIES, K, TURNS = 1000, 10, 5
KINDS = ("auto", "brute", "kd_tree")


def medians(X, Y):
    """Return milliseconds of each kind."""
    times = {kind: [] for kind in KINDS}
    for turn in range(TURNS + 1):
        for kind in KINDS:
            start = time.perf_counter()
            fastnn.kneighbors(X, Y, K, algorithm=kind, n_jobs=N_THREADS)
            if turn:  # the first one warms up
                times[kind].append(1e3 * (time.perf_counter() - start))
    return {kind: statistics.median(of_kind) for kind, of_kind in times.items()}


def sweep():
    """Yield (kind of data, features, samples, milliseconds of each kind of search)."""
    print("| data | features | samples | brute | tree | auto | auto, of the better |")
    print("|---|---|---|---|---|---|---|")
    for make in (uniform, clustered):
        for d in FEATURES:
            for n in SAMPLES:
                both = make(np.random.default_rng(0), n + QUERIES, d).astype(np.float32)
                times = medians(both[n:], both[:n])
                best = min(times["brute"], times["kd_tree"])
                print(
                    f"| {make.__name__} | {d} | {n:,} | {times['brute']:.3g} ms "
                    f"| {times['kd_tree']:.3g} ms | {times['auto']:.3g} ms "
                    f"| {times['auto'] / best:.2f} |",
                    flush=True,
                )
                yield make.__name__, d, n, times


def draw(results, path):
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained", sharey=True)
    for ax, data in zip(axes, ("uniform", "clustered"), strict=True):
        for n in SAMPLES:
            of_n = [(d, t) for name, d, m, t in results if (name, m) == (data, n)]
            features = [d for d, _ in of_n]
            ratio = [t["brute"] / t["kd_tree"] for _, t in of_n]
            (line,) = ax.semilogy(features, ratio, "o-", label=f"{n:,} samples")
            chosen = [t["brute"] / t["auto"] for _, t in of_n]
            ax.semilogy(features, chosen, "x", color=line.get_color(), markersize=9)
        ax.axhline(1.0, color="gray", linewidth=0.8)
        ax.set(title=f"{data} samples", xlabel="Features")
    axes[0].set_ylabel("Times as fast as the exhaustive search")
    axes[0].plot([], [], "kx", markersize=9, label="auto")
    axes[0].legend()
    figure.savefig(path)


def main(path=None):
    results = list(sweep())
    if path:
        draw(results, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
