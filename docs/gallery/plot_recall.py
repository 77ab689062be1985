"""
The recall that is asked for, and the one that is kept
======================================================

A search with ``recall=0.9`` finds, on average, at least nine of ten true neighbors; which lists of
samples a query visits for that depends on the data, and is measured with some of them. Here 2,000
queries that are not among the samples tell how well the promise is kept, and what share of the
samples they visit: a few percent where the samples lie in groups or near a surface, most of them
where there is no structure. A query visits one list at least, which finds more than is asked for in
groups that are clear. See :doc:`/explanation/approximate_search`.
"""

import matplotlib.pyplot as plt
import numpy as np

from fastnn.neighbors import NearestNeighbors

N_SAMPLES, N_QUERIES, N_FEATURES = 20_000, 2000, 32
ASKED = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)


def groups(rng, n):
    centers = rng.standard_normal((200, N_FEATURES))
    return centers[rng.integers(0, len(centers), n)] + 0.5 * rng.standard_normal((n, N_FEATURES))


def surface(rng, n):
    return np.sin(rng.standard_normal((n, 6)) @ rng.standard_normal((6, N_FEATURES)))


def heavy_tails(rng, n):
    return rng.standard_t(2, (n, 8))


def no_structure(rng, n):
    return rng.standard_normal((n, N_FEATURES))


figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
left.plot([0.5, 1], [0.5, 1], color="gray", linewidth=0.8)
for family in (groups, surface, heavy_tails, no_structure):
    rows = family(np.random.default_rng(0), N_SAMPLES + N_QUERIES).astype(np.float32)
    samples, queries = rows[:N_SAMPLES], rows[N_SAMPLES:]
    exact = NearestNeighbors(n_neighbors=10).fit(samples).kneighbors(queries)[0]
    kept, visited = [], []
    model = NearestNeighbors(n_neighbors=10, algorithm="ivf", recall=0.5).fit(samples)
    for recall in ASKED:
        model.set_params(recall=recall)
        found = model.kneighbors(queries)[0]
        kept.append((found <= exact[:, -1:]).mean())
        visited.append(model.recall_.visited)
    name = family.__name__.replace("_", " ")
    left.plot(ASKED, kept, "o-", label=name)
    right.semilogy(ASKED, visited, "o-", label=name)
left.set(xlabel="Recall asked for", ylabel="Recall kept", aspect="equal")
right.set(xlabel="Recall asked for", ylabel="Share of the samples that a query visits")
right.set_yticks([0.01, 0.03, 0.1, 0.3, 1], ["1 %", "3 %", "10 %", "30 %", "100 %"])
right.minorticks_off()
left.legend(loc="lower right")
plt.show()
