"""Rows of ratios.py: searches on a local Dask cluster of two workers, with one thread each.

"one process" is the same search by fastnn in this process, with two threads: the limit. The peers
are what people do today: dask-ml's ParallelPostFit around scikit-learn's classifier, each of whose
tasks has all samples; and a task for each chunk of the samples, with scikit-learn's distances and
NumPy's argsort, merged by another one.

Clusters are started before the clock, and samples are on the workers.
"""

import atexit
from functools import cache

import numpy as np
from sklearn.metrics.pairwise import euclidean_distances

import fastnn.neighbors
from contest import N_THREADS, Row, import_or_none

N, D, N_QUERIES, N_CHUNKS, K = 400_000, 128, 4_000, 4, 10
SLICE = 250


@cache
def cluster():
    """Start the client that all rows share, once."""
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    client = Client(cluster)
    atexit.register(lambda: (client.close(), cluster.close()))
    return client


def make_chunk(i):
    rng = np.random.default_rng(int(i[0]))
    return rng.standard_normal((N // N_CHUNKS, D), dtype=np.float32)


def nearest_of_chunk(X, Y, start):
    """Return what a task of a program of today would."""
    distances, indices = [], []
    for first in range(0, len(X), SLICE):
        of_slice = euclidean_distances(X[first : first + SLICE], Y)
        order = np.argsort(of_slice, axis=1)[:, :K]
        distances.append(np.take_along_axis(of_slice, order, axis=1))
        indices.append(order + start)
    return np.concatenate(distances), np.concatenate(indices)


def nearest_of_all(found):
    distances, indices = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    order = np.argsort(distances, axis=1)[:, :K]
    return np.take_along_axis(distances, order, axis=1), np.take_along_axis(indices, order, axis=1)


def search_row():
    import dask
    import dask.array as da

    from fastnn.dask import NearestNeighbors

    client = cluster()
    numbers = da.from_array(np.arange(N_CHUNKS), chunks=1)
    samples = da.map_blocks(
        make_chunk, numbers, new_axis=1, chunks=((N // N_CHUNKS,) * N_CHUNKS, (D,)),
        dtype=np.float32, meta=np.empty((0, 0), np.float32),
    ).persist()  # fmt: skip
    local = np.concatenate([make_chunk([i]) for i in range(N_CHUNKS)])
    X = np.random.default_rng(99).standard_normal((N_QUERIES, D), dtype=np.float32)
    model = NearestNeighbors(n_neighbors=K).fit(samples)
    of_process = fastnn.neighbors.NearestNeighbors(n_neighbors=K, n_jobs=N_THREADS).fit(local)
    chunks = samples.to_delayed().ravel()

    def by_chunks():
        parts = [
            dask.delayed(nearest_of_chunk)(X, chunk, i * (N // N_CHUNKS))
            for i, chunk in enumerate(chunks)
        ]
        return dask.delayed(nearest_of_all)(parts).compute()

    def check():
        expected = of_process.kneighbors(X)
        np.testing.assert_array_equal(model.kneighbors(X), expected)
        np.testing.assert_allclose(by_chunks()[0], expected[0], rtol=1e-3)

    contestants = {
        "fastnn": lambda: model.kneighbors(X),
        "one process": lambda: of_process.kneighbors(X),
        "map over chunks": by_chunks,
    }
    if import_or_none("dask_ml"):
        contestants["ParallelPostFit"] = post_fit(client, local, X)
    return Row(
        f"fastnn.dask, l2 float32, {N:,} x {D}, {N_QUERIES:,} queries, k={K}", 5.0, contestants,
        ("one process",), check, most_turns=5,
    )  # fmt: skip


def post_fit(client, Y, X):
    import dask.array as da
    from dask_ml.wrappers import ParallelPostFit
    from sklearn.neighbors import KNeighborsClassifier

    labels = np.arange(len(Y)) % 10
    model = ParallelPostFit(KNeighborsClassifier(K, algorithm="brute")).fit(Y, labels)
    queries = da.from_array(X, chunks=(len(X) // 4, D))
    return lambda: model.predict(queries).compute()


ROWS = {"dask-search": search_row}
