"""The vote: the kernel alone on neighbors that are given, and the classifier that ends with it."""

import numpy as np
import pytest
import sklearn.neighbors

import numpy_reference
import oracles
from fastnn._core.search._vote import sum_votes
from fastnn.neighbors import KNeighborsClassifier

N_LABELS = 50_000
CHECKED_QUERIES = 50

# (n_queries, k, n_classes)
VOTES = [
    (1_000, 10, 10),  # in cache
    (100_000, 10, 10),
    (100_000, 100, 10),
    (5_000, 10, 1_000),  # sums are mostly zeros: clearing and reading them is the work
]


def fastnn_votes(neighbors, labels, n_classes, weights, n_threads):
    return lambda: sum_votes(neighbors, labels, n_classes, weights, n_threads)


def bincount_votes(neighbors, labels, n_classes, weights, n_threads):
    return lambda: numpy_reference.votes_by_bincount(neighbors, labels, n_classes, weights)


def add_at_votes(neighbors, labels, n_classes, weights, n_threads):
    return lambda: numpy_reference.votes_by_add_at(neighbors, labels, n_classes, weights)


VOTERS = {"fastnn": fastnn_votes, "numpy bincount": bincount_votes, "numpy add.at": add_at_votes}


@pytest.mark.parametrize("contestant", VOTERS)
@pytest.mark.parametrize(("n_queries", "k", "n_classes"), VOTES)
@pytest.mark.parametrize("weighting", ["uniform", "distance"])
def test_votes(weighting, n_queries, k, n_classes, contestant, n_threads, measure):
    rng = np.random.default_rng(0)
    neighbors = rng.integers(0, N_LABELS, (n_queries, k))
    labels = rng.integers(0, n_classes, N_LABELS)
    weights = None if weighting == "uniform" else 1.0 / rng.uniform(1.0, 2.0, (n_queries, k))
    checked_weights = None if weights is None else weights[:CHECKED_QUERIES]
    expected = oracles.votes(neighbors[:CHECKED_QUERIES], labels, n_classes, checked_weights)

    def check(sums):
        np.testing.assert_allclose(sums[:CHECKED_QUERIES], expected, rtol=1e-12)
        assert sums.shape == (n_queries, n_classes)

    call = VOTERS[contestant](neighbors, labels, n_classes, weights, n_threads)
    group = f"vote {weighting}/int64/{n_queries:,} queries x {k} neighbors, {n_classes:,} classes"
    measure(group, contestant, call, check)


# ---- predict ------------------------------------------------------------------------------------

N_CLASSES = 10
# (n_samples, n_features, n_queries)
FITS = [(1_000, 64, 1), (10_000, 64, 500)]


def fastnn_predict(X, Y, labels, weighting, n_threads):
    model = KNeighborsClassifier(weights=weighting, n_jobs=n_threads).fit(Y, labels)
    return lambda: model.predict(X)


def numpy_predict(X, Y, labels, weighting, n_threads):
    return lambda: numpy_reference.predict(X, Y, labels, N_CLASSES, 5, weighting)


def classifier_predict(module, X, Y, labels, weighting, n_threads):
    model = module.KNeighborsClassifier(weights=weighting, algorithm="brute", n_jobs=n_threads)
    model.fit(Y, labels)
    return lambda: model.predict(X)


def sklearn_predict(*arguments):
    return classifier_predict(sklearn.neighbors, *arguments)


def sklearnex_predict(*arguments):
    module = pytest.importorskip("sklearnex.neighbors", exc_type=ImportError)
    return classifier_predict(module, *arguments)


PREDICTORS = {
    "fastnn": fastnn_predict,
    "numpy": numpy_predict,
    "sklearn": sklearn_predict,
    "sklearnex": sklearnex_predict,
}


@pytest.mark.parametrize("contestant", PREDICTORS)
@pytest.mark.parametrize(("n_samples", "n_features", "n_queries"), FITS)
@pytest.mark.parametrize("weighting", ["uniform", "distance"])
def test_predict(weighting, n_samples, n_features, n_queries, contestant, draw, n_threads, measure):
    X = draw(1, n_queries, n_features, "float32")
    Y = draw(2, n_samples, n_features, "float32")
    labels = np.random.default_rng(3).integers(0, N_CLASSES, n_samples)
    checked = slice(CHECKED_QUERIES)
    distances, neighbors = oracles.kneighbors(X[checked], Y, 5, "l2")
    weights = None if weighting == "uniform" else 1.0 / distances
    expected = oracles.votes(neighbors, labels, N_CLASSES, weights).argmax(axis=1)

    def check(predicted):
        np.testing.assert_array_equal(predicted[checked], expected)

    call = PREDICTORS[contestant](X, Y, labels, weighting, n_threads)
    queries = "1 query" if n_queries == 1 else f"{n_queries:,} queries"
    shape = f"{queries} on {n_samples:,} x {n_features}"
    measure(f"predict {weighting}/float32/{shape}", contestant, call, check)
