"""
Where a tree is quicker, and whether "auto" knows
=================================================

With few features a tree visits few samples for a query; with many, most of them, and then the
exhaustive search is quicker. Where that turns depends on how many samples and queries there are,
since a tree has to be built first, and on how the samples lie: among clusters a tree does well with
many features, too. ``algorithm="auto"`` estimates both times, and tries some queries; see
:doc:`/explanation/exact_search`.

The times are those of whole searches for ten neighbors, construction included, measured by
``bench/sweep_trees.py`` with two threads of an AMD Zen 4, float32 and L2.
"""

import csv
import itertools
from pathlib import Path

import matplotlib.pyplot as plt

DATA, QUERIES, SAMPLES = (
    ("uniform", "clustered"),
    (1000, 20_000),
    (1000, 10_000, 100_000, 1_000_000),
)

with Path("tree_sweep.csv").open() as file:
    rows = list(csv.DictReader(file))

figure, axes = plt.subplots(2, 2, figsize=(10, 8), layout="constrained", sharex=True, sharey=True)
for ax, (data, n_queries) in zip(axes.flat, itertools.product(DATA, QUERIES), strict=True):
    for n in SAMPLES:
        shape = data, str(n_queries), str(n)
        of_n = [row for row in rows if (row["data"], row["queries"], row["samples"]) == shape]
        features = [int(row["features"]) for row in of_n]
        exhaustive = [float(row["brute"]) for row in of_n]
        of_tree = [b / float(row["kd_tree"]) for b, row in zip(exhaustive, of_n, strict=True)]
        of_auto = [b / float(row["auto"]) for b, row in zip(exhaustive, of_n, strict=True)]
        (line,) = ax.semilogy(features, of_tree, "o-", label=f"tree, {n:,} samples")
        ax.semilogy(features, of_auto, "x", color=line.get_color(), markersize=9)
    ax.set_yticks([0.2, 0.5, 1, 2, 5, 10, 20], [0.2, 0.5, 1, 2, 5, 10, 20])
    ax.minorticks_off()
    ax.axhline(1.0, color="gray", linewidth=0.8)
    ax.set_title(f"{data} samples, {n_queries:,} queries")
for ax in axes[:, 0]:
    ax.set_ylabel("Times as fast as the exhaustive search")
for ax in axes[-1]:
    ax.set_xlabel("Features")
axes[0, 0].plot([], [], "kx", markersize=9, label='"auto"')
axes[0, 0].legend(loc="upper right")
