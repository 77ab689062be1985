"""Rows of ratios.py: few features, where trees look at few pairs; fit and one pass of queries."""

import numpy as np

import fastnn
from contest import N_THREADS, Row, import_or_none
from rows_neighbors import CHECKED_QUERIES, oracle


def sklearn_tree(module, X, Y, k):
    def search():
        model = module.NearestNeighbors(n_neighbors=k, algorithm="kd_tree", n_jobs=N_THREADS)
        return model.fit(Y).kneighbors(X)

    return search


def pykdtree_search(module, X, Y, k):
    return lambda: module.KDTree(Y).query(X, k)


def scipy_search(module, X, Y, k):
    return lambda: module.cKDTree(Y).query(X, k, workers=N_THREADS)


def tree_row(name, n, d, n_queries, k, dtype=np.float64):
    """Without `n_queries` all samples are queries, as in many a graph."""
    rng = np.random.default_rng(0)
    Y = rng.random((n, d)).astype(dtype)
    X = Y if n_queries is None else rng.random((n_queries, d)).astype(dtype)

    def search(algorithm):
        return lambda: fastnn.kneighbors(X, Y, k, algorithm=algorithm, n_jobs=N_THREADS)

    def check():
        expected = oracle(X[:CHECKED_QUERIES], Y, k, "l2")
        np.testing.assert_array_equal(search("auto")()[1][:CHECKED_QUERIES], expected)

    contestants = {"fastnn": search("auto")}
    for peer, module, peer_search in [
        ("pykdtree", "pykdtree.kdtree", pykdtree_search),
        ("sklearnex", "sklearnex.neighbors", sklearn_tree),
        ("scikit-learn", "sklearn.neighbors", sklearn_tree),
        ("scipy", "scipy.spatial", scipy_search),
    ]:
        if imported := import_or_none(module):
            contestants[peer] = peer_search(imported, X, Y, k)
    return Row(f"{name}, with fit", 1.5, contestants, (), check)


ROWS = {
    "tree-3": lambda: tree_row(
        "uniform 1,000,000 x 3, 1,000,000 queries, k=8", 1_000_000, 3, 1_000_000, 8
    ),
    "tree-2": lambda: tree_row("uniform 200,000 x 2, all queried, k=5", 200_000, 2, None, 5),
    "tree-8": lambda: tree_row("uniform 200,000 x 8, 20,000 queries, k=10", 200_000, 8, 20_000, 10),
}
