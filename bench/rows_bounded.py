"""Rows of ratios.py: whole searches of many features, fit and one pass of queries.

Here fits count, ours and the peers'. "brute" is fastnn's own exhaustive search: where the data have
structure, algorithm="auto" finds bounds that skip most of its work; where they have none, it must
not lose much.
"""

import os
from dataclasses import dataclass

import numpy as np

import fastnn
from contest import N_THREADS, Row, import_or_none
from digits import make_digits
from fastnn.datasets import load_cifar10
from rows_neighbors import CHECKED_QUERIES, make, oracle

N_TRAIN, N_TEST = 20_000, 2000
K = 10


@dataclass
class Work:
    """Queries X, samples Y; each query's K nearest are wanted."""

    name: str
    Y: np.ndarray
    X: np.ndarray
    metric: str = "l2"


def images(dtype):
    """Return training and test pixels, and what the table calls them."""
    if folder := os.environ.get("FASTNN_CIFAR10"):
        cifar = load_cifar10(folder)
        Y, X = cifar.X_train[:N_TRAIN], cifar.X_test[:N_TEST]
        return Y.astype(dtype), X.astype(dtype), "CIFAR-10 pixels"
    # Smooth random images: sums of a few waves, and noise.
    rng = np.random.default_rng(0)
    waves = rng.standard_normal((40, 3072))
    pixels = 128 + 12 * rng.standard_normal((N_TRAIN + N_TEST, 40)) @ waves / np.sqrt(40)
    pixels = np.clip(pixels + 4 * rng.standard_normal(pixels.shape), 0, 255).astype(np.uint8)
    return pixels[:N_TRAIN].astype(dtype), pixels[N_TRAIN:].astype(dtype), "smooth random pixels"


def blobs(rng, n, n_queries, d, n_blobs):
    centers = 10 * rng.standard_normal((n_blobs, d))
    points = centers[rng.integers(0, n_blobs, n + n_queries)]
    points = (points + rng.standard_normal(points.shape)).astype(np.float32)
    return points[:n], points[n:]


def embeddings(rng, n, d=384, n_topics=300):
    """Unit rows as sentence models give them: topics; 59 % of the variance in 64 directions."""
    deviations = np.arange(1, d + 1) ** -0.4
    topics, own = (rng.standard_normal((m, d)) * deviations for m in (n_topics, n))
    rows = (topics[rng.integers(0, n_topics, n)] + own) @ np.linalg.qr(rng.random((d, d)))[0]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def sklearn_whole(module, X, Y, k, metric):
    long_name = {"l1": "manhattan", "l2": "euclidean"}.get(metric, metric)

    def search():
        model = module.NearestNeighbors(
            n_neighbors=k, algorithm="brute", metric=long_name, n_jobs=N_THREADS
        )
        return model.fit(Y).kneighbors(X)

    return search


def faiss_whole(faiss, X, Y, k, metric):
    faiss.omp_set_num_threads(N_THREADS)

    def search():
        index = faiss.IndexFlat(Y.shape[1], {"l1": faiss.METRIC_L1, "l2": faiss.METRIC_L2}[metric])
        index.add(Y)
        return index.search(X, k)

    return search


def image_work(metric, dtype):
    Y, X, kind = images(dtype)
    name = f"{metric} {np.dtype(dtype)}, {N_TRAIN:,} x 3,072, {N_TEST:,} queries, {kind}"
    return Work(name, Y, X, metric)


def digits_work():
    X = make_digits(62_000)[0]
    name = "l2 uint8, 60,000 x 784, 2,000 queries, shifted digits"
    return Work(name, X[:60_000], X[60_000:])


def normal_work():
    rng = np.random.default_rng(0)
    Y, X = make(rng, 100_000, 128, np.float32), make(rng, 2000, 128, np.float32)
    return Work("l2 float32, 100,000 x 128, 2,000 queries, random normal", Y, X)


def embeddings_work(metric):
    rows = embeddings(np.random.default_rng(0), 64_000)
    name = f"{metric} float32, 60,000 x 384, 4,000 queries, like embeddings"
    return Work(name, rows[:60_000], rows[60_000:], metric)


def blobs_work():
    Y, X = blobs(np.random.default_rng(0), 500_000, 5000, 32, 1000)
    return Work("l2 float32, 500,000 x 32, 5,000 queries, 1,000 blobs", Y, X)


WORKS = {
    "whole-l2-uint8": (lambda: image_work("l2", np.uint8), 6.0),
    "whole-l2-f32": (lambda: image_work("l2", np.float32), 6.0),
    "whole-l2-f64": (lambda: image_work("l2", np.float64), 6.0),
    "whole-l1-uint8": (lambda: image_work("l1", np.uint8), 15.0),
    "whole-digits": (digits_work, 5.0),
    "whole-embeddings": (lambda: embeddings_work("l2"), 2.0),
    "whole-embeddings-cosine": (lambda: embeddings_work("cosine"), 2.0),
    "whole-normal": (normal_work, 1.0),
    "whole-blobs": (blobs_work, 5.0),
}


def whole_row(work, target):
    Y, X, metric = work.Y, work.X, work.metric

    def ours(algorithm):
        return lambda: fastnn.kneighbors(X, Y, K, metric, algorithm=algorithm, n_jobs=N_THREADS)

    def check():
        expected = oracle(X[:CHECKED_QUERIES], Y, K, metric)
        np.testing.assert_array_equal(ours("auto")()[1][:CHECKED_QUERIES], expected)

    contestants = {"fastnn": ours("auto"), "brute": ours("brute")}
    wide = X.dtype == np.float64
    floats = [Z if wide else Z.astype(np.float32) for Z in (X, Y)]
    for peer, module, search in [
        ("sklearnex", "sklearnex.neighbors", sklearn_whole),
        ("scikit-learn", "sklearn.neighbors", sklearn_whole),
        ("faiss", "faiss", faiss_whole),
    ]:
        if peer == "faiss" and (wide or metric == "cosine"):
            continue  # float32 and no cosine
        if imported := import_or_none(module):
            contestants[peer] = search(imported, *floats, K, metric)
    return Row(f"{work.name}, with fit", target, contestants, ("brute",), check)


ROWS = {
    key: lambda work=work, target=target: whole_row(work(), target)
    for key, (work, target) in WORKS.items()
}
