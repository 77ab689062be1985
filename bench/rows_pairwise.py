"""Rows of ratios.py: pairwise distances.

Contestants are NumPy's norms and product, scikit-learn's functions and, of few rows, faiss's.
Limits are the product alone and, of few rows, reading the samples once.
"""

import numpy as np
import sklearn.metrics.pairwise as sklearn_metrics

import fastnn
import numpy_reference
from contest import N_THREADS, Row, import_or_none, read_once
from digits import make_digits
from rows_linear import images

CHECKED_ROWS = 20
RTOL = {np.float32: 2e-6, np.float64: 1e-11}


def pixels(rng, n):
    return make_digits(n)[0]


def scaled_pixels(rng, n):
    return make_digits(n)[0] / 255.0


def cifar(rng, n):
    return images()[0][:n]


def embeddings(rng, n):
    return rng.standard_normal((n, 384)) + 0.1 * rng.standard_normal(384)


def normal(rng, n):
    return rng.standard_normal((n, 128))


def numpy_distances(X, Y, metric):
    if metric != "cosine":
        return numpy_reference.pairwise_distances(X, Y, metric)
    X, Y = (rows / np.sqrt((rows * rows).sum(axis=1))[:, None] for rows in (X, Y))
    return 1.0 - X @ Y.T


SKLEARN_METRICS = {
    "l2": sklearn_metrics.euclidean_distances,
    "l1": sklearn_metrics.manhattan_distances,
    "cosine": sklearn_metrics.cosine_distances,
}


def exact_distances(x, Y, metric):
    """Distances from one row, in float64 difference form."""
    if metric == "cosine":
        x, Y = x / np.linalg.norm(x), Y / np.linalg.norm(Y, axis=1, keepdims=True)
    difference = x - Y
    if metric == "l1":
        return np.abs(difference).sum(axis=1)
    squares = (difference * difference).sum(axis=1)
    return np.sqrt(squares) if metric == "l2" else 0.5 * squares


def check_some(X, Y, metric, dtype):
    found = fastnn.pairwise_distances(X, Y, metric, n_jobs=N_THREADS)
    X, Y = X[:CHECKED_ROWS].astype(np.float64), Y.astype(np.float64)
    for row, x in zip(found, X, strict=False):
        np.testing.assert_allclose(row, exact_distances(x, Y, metric), RTOL[dtype], atol=1e-14)


def row_of(name, make_rows, n, dtype, metric, target, itself):
    rows = make_rows(np.random.default_rng(0), 2 * n).astype(dtype)
    X, Y = rows[:n].copy(), None if itself else rows[n:].copy()
    samples = X if itself else Y
    theirs = SKLEARN_METRICS[metric]
    contestants = {
        "fastnn": lambda: fastnn.pairwise_distances(X, Y, metric, n_jobs=N_THREADS),
        "numpy": lambda: numpy_distances(X, samples, metric),
        "scikit-learn": lambda: theirs(X, Y),
        "product": lambda: X @ samples.T,
    }
    shape = f"{n:,} x {n:,} x {X.shape[1]:,}"
    name = name or images()[2]
    title = f"{metric} {np.dtype(dtype).name}, {name}, {shape}{', with itself' if itself else ''}"
    return Row(
        title, target, contestants, ("product",), lambda: check_some(X, samples, metric, dtype)
    )


def few_row(n, metric, dtype, target):
    rng = np.random.default_rng(0)
    X, Y = normal(rng, n).astype(dtype), normal(rng, 20_000).astype(dtype)
    theirs = SKLEARN_METRICS[metric]
    contestants = {
        "fastnn": lambda: fastnn.pairwise_distances(X, Y, metric, n_jobs=N_THREADS),
        "numpy": lambda: numpy_distances(X, Y, metric),
        "scikit-learn": lambda: theirs(X, Y),
        "read": read_once(Y),
    }
    faiss = import_or_none("faiss")
    if faiss and metric != "cosine" and dtype == np.float32:
        kind = {"l1": faiss.METRIC_L1, "l2": faiss.METRIC_L2}[metric]
        faiss.omp_set_num_threads(N_THREADS)
        contestants["faiss"] = lambda: faiss.pairwise_distances(X, Y, kind)
    title = f"{metric} {np.dtype(dtype).name}, {n} to 20,000 x 128"
    return Row(title, target, contestants, ("read",), lambda: check_some(X, Y, metric, dtype), 5)


SETS = {
    "pixels": ("pixels of digits", pixels, 3000),
    "cifar": (None, cifar, 2000),
    "embeddings": ("like embeddings", embeddings, 3000),
    "normal": ("normal", normal, 2000),
    "scaled-pixels": ("pixels of digits / 255", scaled_pixels, 3000),
}
TARGETS = {("l2", False): 1.2, ("l2", True): 1.8, ("cosine", False): 1.0, ("cosine", True): 1.5}
TYPES = {"f32": np.float32, "f64": np.float64}

ROWS = {
    f"pairwise-{metric}-{key}-{short}{'-self' if itself else ''}": (
        lambda data=data, dtype=dtype, metric=metric, itself=itself: row_of(
            *data, dtype, metric, TARGETS[metric, itself], itself
        )
    )
    for key, data in SETS.items()
    for metric in ("l2", "cosine")
    for short, dtype in TYPES.items()
    for itself in (False, True)
}
ROWS["pairwise-l1"] = lambda: row_of(*SETS["pixels"][:2], 2000, np.float32, "l1", 20.0, False)
ROWS |= {
    f"few-{metric}-{n}-{short}": (
        lambda n=n, metric=metric, dtype=dtype: few_row(n, metric, dtype, 1.0)
    )
    for metric in ("l1", "l2", "cosine")
    for n in (1, 10)
    for short, dtype in TYPES.items()
}
