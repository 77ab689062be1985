"""
Time against the number of samples
==================================

A thousand queries, ten neighbors each, with an index that is built already. Brute force compares
all pairs. With few features the tree visits an ever smaller share of the samples; with many that
go together, as in images and embeddings, bounds compare a few bytes of each sample, and the lists
of an approximate search skip most samples. Times are those of the machine that built this page.
"""

import time

import matplotlib.pyplot as plt
import numpy as np

from fastnn.neighbors import NearestNeighbors

SIZES = (2000, 5000, 10_000, 20_000, 50_000, 100_000)
COLORS = {"brute force": "C0", "bounds": "C1", "lists, recall 0.95": "C2", "tree": "C3"}
BRUTE = {"brute force": {"algorithm": "brute"}}
TREE = {"tree": {"algorithm": "kd_tree"}}
OTHERS = {
    "bounds": {"algorithm": "bounded"},
    "lists, recall 0.95": {"algorithm": "ivf", "recall": 0.95},
}


def cloud(rng, n):
    return rng.random((n, 3), dtype=np.float32)


def groups(rng, n):
    """Groups that spread in 12 directions, and a little in all others."""
    centers, directions = rng.standard_normal((200, 12)), rng.standard_normal((12, 128))
    rows = 2 * centers[rng.integers(0, 200, n)] + rng.standard_normal((n, 12))
    return (rows @ directions + 0.5 * rng.standard_normal((n, 128))).astype(np.float32)


def milliseconds(search, queries):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        search(queries)
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained", sharey=True)
for ax, family, kinds, title in [
    (axes[0], cloud, BRUTE | TREE, "3 features"),
    (axes[1], groups, BRUTE | OTHERS, "128 features in groups"),
]:
    rows = family(np.random.default_rng(0), SIZES[-1] + 1000)
    samples, queries = rows[:-1000], rows[-1000:]
    for name, parameters in kinds.items():
        times = []
        for n in SIZES:
            model = NearestNeighbors(n_neighbors=10, **parameters).fit(samples[:n])
            for _ in range(2):  # builds what the search needs, and keeps what comes again
                model.kneighbors(queries)
            times.append(milliseconds(model.kneighbors, queries))
        ax.loglog(SIZES, times, "o-", color=COLORS[name], label=name)
    ax.set(title=title, xlabel="Number of samples")
    ax.set_xticks(SIZES, [f"{n:,}" for n in SIZES], fontsize="small")
    ax.set_yticks([0.3, 1, 3, 10, 30, 100, 300], ["0.3", "1", "3", "10", "30", "100", "300"])
    ax.minorticks_off()
    ax.grid(color="0.9")
    ax.legend()
axes[0].set_ylabel("Milliseconds for 1,000 queries")
plt.show()
