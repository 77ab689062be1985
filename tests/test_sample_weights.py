"""Weights of samples and of classes: they multiply votes, and count in means."""

import pickle

import numpy as np
import pytest
import scipy.sparse
import sklearn.neighbors
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier

import oracles
from fastnn._core.search._vote import average_targets
from fastnn.neighbors import KNeighborsClassifier, KNeighborsRegressor


def expected_weights(X, Y, k, weights, of_samples):
    """Return the neighbors among the samples with a weight, and what each counts."""
    there = np.flatnonzero(of_samples > 0)
    distances, indices = oracles.kneighbors(X, Y[there], k, "l2")
    indices = there[indices]
    of_neighbors = of_samples[indices]
    if weights == "distance":
        with np.errstate(divide="ignore"):
            inverse = 1.0 / distances
        same = np.isinf(inverse)
        inverse[same.any(axis=1)] = same[same.any(axis=1)]
        of_neighbors = of_neighbors * inverse
    return indices, of_neighbors


def expected_shares(indices, of_neighbors, labels, n_classes):
    sums = np.stack(
        [np.where(labels[indices] == c, of_neighbors, 0.0).sum(axis=1) for c in range(n_classes)],
        axis=1,
    )
    return sums / sums.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("weights", ["uniform", "distance", None])
@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0, 2: 0.5}, {1: 0.0}])
def test_classifiers(weights, zeros, class_weight, rng):
    X, Y = rng.standard_normal((50, 3)), rng.standard_normal((200, 3))
    X[:5] = Y[:5]
    y = rng.permutation(np.repeat([0, 1, 2, 2], 50))
    sample_weight = rng.random(200) * (rng.random(200) < 0.6 if zeros else 1.0)
    model = KNeighborsClassifier(7, weights=weights, class_weight=class_weight)
    model.fit(Y, y, sample_weight=sample_weight)
    of_classes = {
        "balanced": np.array([200 / (3 * 50), 200 / (3 * 50), 200 / (3 * 100)]),
        "None": np.ones(3),
        "{0: 2.0, 2: 0.5}": np.array([2.0, 1.0, 0.5]),
        "{1: 0.0}": np.array([1.0, 0.0, 1.0]),
    }[str(class_weight)]
    found = expected_weights(X, Y, 7, weights, sample_weight * of_classes[y])
    shares = expected_shares(*found, y, 3)
    np.testing.assert_allclose(model.predict_proba(X), shares, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(model.predict(X), shares.argmax(axis=1))
    assert pickle.loads(pickle.dumps(model)).score(X, y[:50]) == model.score(X, y[:50])


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda distances: 1 / (1 + distances)])
@pytest.mark.parametrize("outputs", [(), (1,), (3,)])
@pytest.mark.parametrize("zeros", [None, False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int32])
def test_regressors(weights, outputs, zeros, dtype, rng):
    X, Y = rng.standard_normal((50, 3)), rng.standard_normal((200, 3))
    y = (10 * rng.standard_normal((200, *outputs))).astype(dtype)
    of_samples = np.ones(200)
    if zeros is not None:
        of_samples = rng.random(200) * (rng.random(200) < 0.6 if zeros else 1.0)
    model = KNeighborsRegressor(7, weights=weights)
    model.fit(Y, y, sample_weight=None if zeros is None else of_samples)
    indices, of_neighbors = expected_weights(X, Y, 7, weights, of_samples)
    if callable(weights):
        of_neighbors = of_neighbors * weights(model.kneighbors(X)[0]) if not zeros else None
    found = model.predict(X)
    assert found.shape == (50, *outputs)
    if of_neighbors is not None:
        of_neighbors = of_neighbors.reshape(50, 7, *([1] * len(outputs)))
        expected = (of_neighbors * y[indices]).sum(axis=1) / of_neighbors.sum(axis=1)
        tolerance = 1e-6 if found.dtype == np.float32 else 1e-12
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    if zeros is None:
        theirs = sklearn.neighbors.KNeighborsRegressor(7, weights=weights).fit(Y, y).predict(X)
        assert found.dtype == theirs.dtype
        np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_threads", [1, 2, 5])
@pytest.mark.parametrize("n_outputs", [1, 2, 9])
@pytest.mark.parametrize("k", [1, 3, 40])
def test_average_targets(n_threads, n_outputs, k, rng):
    """Bit for bit sums in the order of the neighbors, for any number of threads."""
    neighbors = rng.integers(0, 100, (3000, k))
    targets = rng.standard_normal((100, n_outputs))
    for weights in (None, rng.random((3000, k))):
        given = np.ones((3000, k)) if weights is None else weights
        sums, total = np.zeros((3000, n_outputs)), np.zeros(3000)
        for j in range(k):
            sums += given[:, j, None] * targets[neighbors[:, j]]
            total += given[:, j]
        found = average_targets(neighbors, targets, weights, n_threads)
        np.testing.assert_array_equal(found, sums / total[:, None])


def test_averages_of_nothing(rng):
    neighbors, targets = np.zeros((0, 3), np.int64), rng.random((5, 2))
    assert average_targets(neighbors, targets, None, 2).shape == (0, 2)
    weights = np.zeros((4, 3))
    found = average_targets(np.zeros((4, 3), np.int64), targets, weights, 2)
    assert np.isnan(found).all()


def test_targets_that_are_no_numbers_are_left_to_scikit_learn(rng):
    X, y = rng.random((20, 2)), rng.random(20) + 1j
    model = KNeighborsRegressor(3).fit(X, np.arange(20))
    model._y = y  # scikit-learn refuses them in a fit
    theirs = sklearn.neighbors.KNeighborsRegressor(3).fit(X, np.arange(20))
    theirs._y = y
    np.testing.assert_allclose(model.predict(X), theirs.predict(X))


def test_several_outputs_of_classifiers(rng):
    X, Y = rng.random((40, 2)), rng.random((90, 2))
    y = np.stack([rng.integers(0, 3, 90), rng.integers(0, 2, 90)], axis=1)
    names = np.array(["a", "bb", "ccc"])[y]
    for labels in (y, names):
        for weights in ("uniform", "distance"):
            ours, theirs = (
                module(5, weights=weights).fit(Y, labels)
                for module in (KNeighborsClassifier, sklearn.neighbors.KNeighborsClassifier)
            )
            np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
            for a, b in zip(ours.predict_proba(X), theirs.predict_proba(X), strict=True):
                np.testing.assert_allclose(a, b)
    balanced = KNeighborsClassifier(5, class_weight="balanced").fit(Y, y)
    lists = KNeighborsClassifier(
        5,
        class_weight=[
            dict(enumerate(90 / (n * np.bincount(y[:, i])))) for i, n in ((0, 3), (1, 2))
        ],
    ).fit(Y, y)
    for a, b in zip(balanced.predict_proba(X), lists.predict_proba(X), strict=True):
        np.testing.assert_array_equal(a, b)
    product = KNeighborsClassifier(5, class_weight=[{0: 2.0}, {1: 3.0}]).fit(Y, y)
    of_samples = np.where(y[:, 0] == 0, 2.0, 1.0) * np.where(y[:, 1] == 1, 3.0, 1.0)
    found = expected_weights(X, Y, 5, "uniform", of_samples)
    for i, n_classes in ((0, 3), (1, 2)):
        shares = expected_shares(*found, y[:, i], n_classes)
        np.testing.assert_allclose(product.predict_proba(X)[i], shares)
    with pytest.raises(ValueError, match="one dict for each of 2 outputs, got 1"):
        KNeighborsClassifier(class_weight=[{}]).fit(Y, y)


def test_with_samples_that_come_and_go(rng):
    X, Y = rng.random((40, 2)), rng.random((90, 2))
    y, weights = rng.integers(0, 3, 90), rng.integers(0, 3, 90).astype(float)
    weights[:50] = 1.0
    for class_weight in (None, "balanced", {0: 3.0}):
        plain = KNeighborsClassifier(5, class_weight=class_weight)
        model = clone(plain).fit(Y[:50], y[:50])
        model.partial_fit(Y[50:], y[50:], sample_weight=weights[50:]).remove(np.arange(0, 90, 7))
        left = model.sample_indices_
        fitted = clone(plain).fit(Y[left], y[left], sample_weight=weights[left])
        np.testing.assert_array_equal(model.predict_proba(X), fitted.predict_proba(X))
        assert pickle.loads(pickle.dumps(model)).predict(X).tolist() == fitted.predict(X).tolist()
    model = KNeighborsRegressor(5).partial_fit(Y[:50], y[:50], sample_weight=weights[:50])
    model.partial_fit(Y[50:], y[50:], sample_weight=weights[50:]).remove(3)
    left = model.sample_indices_
    fitted = KNeighborsRegressor(5).fit(Y[left], y[left], sample_weight=weights[left])
    np.testing.assert_array_equal(model.predict(X), fitted.predict(X))
    model.fit(Y, y)
    np.testing.assert_array_equal(model.predict(X), KNeighborsRegressor(5).fit(Y, y).predict(X))


def test_bagging(rng):
    """It draws samples by their weights, of which many are 0."""
    Y, y = rng.standard_normal((300, 2)), rng.integers(0, 2, 300)
    Y[y == 1] += 4.0
    bag = BaggingClassifier(KNeighborsClassifier(5), n_estimators=5, random_state=0).fit(Y, y)
    assert bag.score(Y, y) > 0.97


def test_sparse_samples(rng):
    """scikit-learn searches; votes are ours, but nobody can be left out."""
    X = scipy.sparse.csr_array(rng.random((30, 3)))
    y, weights = np.arange(30) % 2, rng.random(30)
    model = KNeighborsClassifier(3).fit(X, y, sample_weight=weights)
    dense = KNeighborsClassifier(3).fit(X.toarray(), y, sample_weight=weights)
    np.testing.assert_allclose(model.predict_proba(X), dense.predict_proba(X.toarray()))
    weights[3] = 0.0
    with pytest.raises(ValueError, match="must not have zeros where scikit-learn searches: sparse"):
        model.fit(X, y, sample_weight=weights).predict(X)


def test_what_is_wrong(rng):
    X, y = rng.random((9, 2)), np.arange(9) % 3
    for model in (KNeighborsClassifier(3), KNeighborsRegressor(3)):
        for wrong, words in [
            (np.ones(8), "one weight for each sample"),
            (-np.ones(9), "at least 0, got -1"),
            (np.full(9, np.nan), "NaN"),
            (np.zeros(9), "zero"),
        ]:
            with pytest.raises(ValueError, match=words):
                model.fit(X, y, sample_weight=wrong)
        few = (np.arange(9) < 2).astype(float)
        with pytest.raises(ValueError, match="n_neighbors = 3, and there are 2"):
            model.fit(X, y, sample_weight=few).predict(X)
    with pytest.raises(ValueError, match="class_weight must have weights of at least 0, got -1"):
        KNeighborsClassifier(class_weight={0: -1}).fit(X, y)
    with pytest.raises(ValueError, match="The 'class_weight' parameter"):
        KNeighborsClassifier(class_weight="heavy").fit(X, y)
