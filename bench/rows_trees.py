"""Rows of ratios.py: few features, where trees look at few pairs; fit and one pass of queries."""

import numpy as np
import scipy.spatial
import sklearn.neighbors

import fastnn
import fastnn.accel
from contest import N_THREADS, Row, import_or_none
from rows_neighbors import CHECKED_QUERIES, oracle

# ---- data ----------------------------------------------------------------------------------------


def uniform(rng, n, d):
    return rng.random((n, d))


def clustered(rng, n, d, n_clusters=200):
    """Gaussian clusters of different sizes and widths."""
    centers, widths = rng.random((n_clusters, d)), 10.0 ** rng.uniform(-3, -1, n_clusters)
    shares = rng.dirichlet(np.ones(n_clusters))
    cluster = rng.choice(n_clusters, n, p=shares)
    return centers[cluster] + widths[cluster, None] * rng.standard_normal((n, d))


def lidar(rng, n, d=3):
    """Points on surfaces, as a scanner sees them: ground, walls, spheres; denser where near."""
    part = rng.choice(3, n, p=[0.5, 0.35, 0.15])
    angle, height = rng.uniform(0, 2 * np.pi, n), rng.random(n)
    # The ground in rings of scan lines, ever wider apart.
    ring = 2.0 * 1.08 ** rng.integers(0, 64, n)
    points = np.column_stack([ring * np.cos(angle), ring * np.sin(angle), np.zeros(n)])
    wall = rng.integers(0, 40, n)
    direction, distance = 2 * np.pi * wall / 40, 10.0 + 3.0 * (wall % 7)
    along = rng.uniform(-8, 8, n)
    walls = np.column_stack(
        [
            distance * np.cos(direction) - along * np.sin(direction),
            distance * np.sin(direction) + along * np.cos(direction),
            6.0 * np.round(64 * height) / 64,
        ]
    )
    normal = rng.standard_normal((n, 3))
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    centers = rng.uniform(-30, 30, (60, 3)) * [1.0, 1.0, 0.05]
    balls = centers[rng.integers(0, 60, n)] + normal
    points = np.choose(part[:, None], [points, walls, balls])
    return points + 0.01 * rng.standard_normal((n, 3))


# ---- contestants ---------------------------------------------------------------------------------


def sklearn_tree(module, X, Y, k):
    def search():
        model = module.NearestNeighbors(n_neighbors=k, algorithm="kd_tree", n_jobs=N_THREADS)
        return model.fit(Y).kneighbors(X)

    return search


def pykdtree_search(module, X, Y, k):
    return lambda: module.KDTree(Y).query(X, k)


def scipy_search(module, X, Y, k):
    return lambda: module.cKDTree(Y).query(X, k, workers=N_THREADS)


PEERS = [
    ("pykdtree", "pykdtree.kdtree", pykdtree_search),
    ("sklearnex", "sklearnex.neighbors", sklearn_tree),
    ("scikit-learn", "sklearn.neighbors", sklearn_tree),
    ("scipy", "scipy.spatial", scipy_search),
]


def tree_row(make, n, d, n_queries, k, dtype=np.float32, target=1.5):
    """Without `n_queries` all samples are queries, as in many a graph."""
    rng = np.random.default_rng(0)
    both = make(rng, n + (n_queries or 0), d).astype(dtype)
    Y = both[:n]
    X = both[n:] if n_queries else Y

    def search(algorithm):
        return lambda: fastnn.kneighbors(X, Y, k, algorithm=algorithm, n_jobs=N_THREADS)

    def check():
        expected = oracle(X[:CHECKED_QUERIES], Y, k, "l2")
        np.testing.assert_array_equal(search("auto")()[1][:CHECKED_QUERIES], expected)

    contestants = {"fastnn": search("auto")}
    for peer, module, peer_search in PEERS:
        if imported := import_or_none(module):
            contestants[peer] = peer_search(imported, X, Y, k)
    queried = f"{n_queries:,} queries" if n_queries else "all queried"
    name = f"{make.__name__} {np.dtype(dtype)}, {n:,} x {d}, {queried}, k={k}, with fit"
    return Row(name, target, contestants, (), check)


def radius_row(n=200_000, d=3, radius=0.033):
    """A graph of all neighbors within a radius, about 30 each."""
    Y = uniform(np.random.default_rng(0), n, d).astype(np.float32)

    def ours():
        return fastnn.neighbors.radius_neighbors_graph(Y, radius, mode="distance", n_jobs=N_THREADS)

    def theirs(module):
        def search():
            model = module.NearestNeighbors(algorithm="kd_tree", n_jobs=N_THREADS).fit(Y)
            return model.radius_neighbors_graph(radius=radius, mode="distance")

        return search

    def check():
        graph = ours()
        distances = np.sqrt(((Y[:5].astype(float)[:, None] - Y.astype(float)) ** 2).sum(axis=2))
        np.testing.assert_array_equal(
            np.diff(graph.indptr)[:5], (distances <= radius).sum(axis=1) - 1
        )

    contestants = {"fastnn": ours}
    for peer, module in (
        ("sklearnex", "sklearnex.neighbors"),
        ("scikit-learn", "sklearn.neighbors"),
    ):
        if imported := import_or_none(module):
            contestants[peer] = theirs(imported)
    name = f"radius graph, uniform float32, {n:,} x {d}, about 30 neighbors, with fit"
    return Row(name, 2.0, contestants, (), check)


def interface_row(boxsize=None, n=1_000_000, n_queries=100_000, k=8):
    """Trees as classes, built and asked once."""
    rng = np.random.default_rng(0)
    Y, X = uniform(rng, n, 3), uniform(rng, n_queries, 3)
    box = {} if boxsize is None else {"boxsize": boxsize}
    contestants = {
        "fastnn": lambda: fastnn.neighbors.KDTree(Y, n_jobs=N_THREADS, **box).query(X, k),
        "scipy": lambda: scipy.spatial.cKDTree(Y, **box).query(X, k, workers=N_THREADS),
    }
    if not box:
        contestants["scikit-learn"] = lambda: sklearn.neighbors.KDTree(Y).query(X, k)
        if pykdtree := import_or_none("pykdtree.kdtree"):
            contestants["pykdtree"] = lambda: pykdtree.KDTree(Y).query(X, k)

    def check():
        some = X[:CHECKED_QUERIES]
        found = fastnn.neighbors.KDTree(Y, **box).query(some, k)[0]
        expected = scipy.spatial.cKDTree(Y, **box).query(some, k)[0]
        np.testing.assert_allclose(found, expected, rtol=1e-12)

    name = f"KDTree, {n:,} x 3, {n_queries:,} queries, k={k}" + (", periodic" if box else "")
    return Row(f"{name}, with fit", 2.0, contestants, (), check)


def counts_row(radius=0.02, n=1_000_000, n_queries=100_000):
    """How many are within a radius, about 33; to list them takes longer."""
    rng = np.random.default_rng(0)
    Y, X = uniform(rng, n, 3), uniform(rng, n_queries, 3)
    tree = fastnn.neighbors.KDTree(Y, n_jobs=N_THREADS)
    scipys, theirs = scipy.spatial.cKDTree(Y), sklearn.neighbors.KDTree(Y)

    def scipys_counts():
        return scipys.query_ball_point(X, radius, return_length=True, workers=N_THREADS)

    def check():
        found = tree.query_radius(X, radius, count_only=True)
        np.testing.assert_array_equal(found, scipys_counts())

    contestants = {
        "fastnn": lambda: tree.query_radius(X, radius, count_only=True),
        "its list": lambda: tree.query_radius(X, radius),
        "scipy": scipys_counts,
        "scikit-learn": lambda: theirs.query_radius(X, radius, count_only=True),
    }
    name = f"counts within a radius, {n:,} x 3, {n_queries:,} queries, about 33 each"
    return Row(name, {"its list": 2.0}, contestants, (), check)


def accel_row(make, make_estimator, name, target):
    """An estimator of scikit-learn's, as it is and under accel."""
    X = make(np.random.default_rng(0), 200_000, 2)

    def accelerated():
        fastnn.accel.install()
        try:
            return make_estimator().fit_predict(X)
        finally:
            fastnn.accel.uninstall()

    def plain():
        return make_estimator().fit_predict(X)

    def check():
        np.testing.assert_array_equal(accelerated(), plain())

    contestants = {"fastnn": accelerated, "scikit-learn": plain}
    name = f"{name}, {make.__name__} 200,000 x 2, under accel"
    return Row(name, target, contestants, (), check)


def dbscan_row(make, eps, n_neighbors, target):
    import sklearn.cluster

    def estimator():
        return sklearn.cluster.DBSCAN(eps=eps, min_samples=10, n_jobs=N_THREADS)

    return accel_row(make, estimator, f"DBSCAN, {n_neighbors} neighbors each", target)


def lof_row(make, target):
    import sklearn.neighbors

    def estimator():
        return sklearn.neighbors.LocalOutlierFactor(n_jobs=N_THREADS)

    return accel_row(make, estimator, "LocalOutlierFactor", target)


F64 = np.float64
ROWS = {
    "kdtree": interface_row,
    "kdtree-periodic": lambda: interface_row(1.0),
    "kdtree-counts": counts_row,
    "tree-3": lambda: tree_row(uniform, 1_000_000, 3, 1_000_000, 8),
    "tree-2": lambda: tree_row(uniform, 200_000, 2, None, 5),
    "tree-5": lambda: tree_row(uniform, 300_000, 5, 50_000, 12),
    "tree-8": lambda: tree_row(uniform, 200_000, 8, 20_000, 10),
    "tree-1": lambda: tree_row(uniform, 20_000, 1, 5000, 5),
    "tree-lidar": lambda: tree_row(lidar, 1_000_000, 3, None, 16),
    "tree-f64-3": lambda: tree_row(uniform, 1_000_000, 3, 1_000_000, 8, F64, 1.3),
    "tree-f64-2": lambda: tree_row(uniform, 200_000, 2, None, 5, F64, 1.3),
    "tree-f64-5": lambda: tree_row(uniform, 300_000, 5, 50_000, 12, F64, 1.3),
    "tree-f64-8": lambda: tree_row(uniform, 200_000, 8, 20_000, 10, F64, 1.3),
    "tree-f64-lidar": lambda: tree_row(lidar, 1_000_000, 3, None, 16, F64, 1.3),
    "tree-clustered-3": lambda: tree_row(clustered, 1_000_000, 3, 1_000_000, 8, np.float32, 1.3),
    "tree-clustered-2": lambda: tree_row(clustered, 200_000, 2, None, 5, np.float32, 1.3),
    "tree-clustered-5": lambda: tree_row(clustered, 300_000, 5, 50_000, 12, np.float32, 1.3),
    "tree-clustered-8": lambda: tree_row(clustered, 200_000, 8, 20_000, 10, np.float32, 1.3),
    "tree-radius": radius_row,
    "tree-dbscan": lambda: dbscan_row(uniform, 0.006, 23, 2.0),
    "tree-dbscan-clustered": lambda: dbscan_row(clustered, 0.003, 359, 1.3),
    "tree-lof": lambda: lof_row(uniform, 2.0),
    "tree-lof-clustered": lambda: lof_row(clustered, 1.3),
}
