"""fastnn.accel: scikit-learn with another engine, and scikit-learn again afterwards."""

import pickle
import subprocess
import sys
import threading

import numpy as np
import pytest
import sklearn.cluster
import sklearn.impute
import sklearn.manifold
import sklearn.metrics
import sklearn.neighbors
import sklearn.semi_supervised
from sklearn.datasets import make_blobs
from sklearn.metrics import pairwise
from sklearn.neighbors import (
    KNeighborsClassifier,
    KNeighborsTransformer,
    LocalOutlierFactor,
    NearestNeighbors,
    RadiusNeighborsClassifier,
)

from fastnn import _observation, accel
from fastnn._sklearn.originals import ORIGINALS


@pytest.fixture
def blobs():
    return make_blobs(300, 6, centers=4, random_state=0)


def state():
    """Whatever accel replaces."""
    methods = [vars(owner)[name] for owner, name in ORIGINALS]
    names = [name for name in dir(pairwise) if "distances" in name]
    functions = [getattr(pairwise, name) for name in names]
    functions += [getattr(sklearn.metrics, name, None) for name in names]
    return [*methods, *functions, *pairwise.PAIRWISE_DISTANCE_FUNCTIONS.values()]


def same(one, other):
    return all(a is b for a, b in zip(one, other, strict=True))


@pytest.fixture(autouse=True)
def scikit_learn_as_it_was():
    before = state()
    yield
    assert same(state(), before)
    assert not _observation.observers


def operations(report):
    return {(operation, reason is None) for operation, reason, _, _ in report.rows()}


def test_install_is_idempotent_and_reversible():
    before = state()
    accel.install()
    first = state()
    assert not any(a is b for a, b in zip(first[:6], before[:6], strict=True))
    accel.install()
    with accel.enabled(), accel.enabled():
        accel.uninstall()
        assert same(state(), first), "an open block stays accelerated"
        accel.install()
    assert same(state(), first), "a block leaves what install() has done"
    for _ in range(2):
        accel.uninstall()
        assert same(state(), before)


def test_an_error_inside_uninstalls():
    with pytest.raises(KeyError), accel.enabled(accel.Report()):
        raise KeyError


def test_what_was_imported_before_is_accelerated(blobs):
    X, y = blobs
    queries = X[::3] + 0.01
    report = accel.Report()
    with accel.enabled(report):
        models = [
            KNeighborsClassifier(weights="distance"),
            RadiusNeighborsClassifier(2.0),
            LocalOutlierFactor(),
            KNeighborsTransformer(),
        ]
        results = [
            models[0].fit(X, y).predict_proba(queries),
            models[1].fit(X, y).predict_proba(X),
            models[2].fit(X).negative_outlier_factor_,
            models[3].fit_transform(X).toarray(),
        ]
    assert operations(report) == {("kneighbors", True), ("radius_neighbors", True)}
    expected = [
        KNeighborsClassifier(weights="distance").fit(X, y).predict_proba(queries),
        RadiusNeighborsClassifier(2.0).fit(X, y).predict_proba(X),
        LocalOutlierFactor().fit(X).negative_outlier_factor_,
        KNeighborsTransformer().fit_transform(X).toarray(),
    ]
    for mine, other in zip(results, expected, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)


def test_estimators_outlive_the_acceleration(blobs):
    X, y = blobs
    with accel.enabled():
        model = KNeighborsClassifier().fit(X, y)
        before = model.predict(X)
    assert type(model) is KNeighborsClassifier
    for survivor in (model, pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(survivor.predict(X), before)
        survivor.fit(X[:200], y[:200])
        assert survivor.kneighbors(X[:1])[1][0, 0] == 0
    fitted_before = NearestNeighbors().fit(X)
    with accel.enabled():
        found = fitted_before.kneighbors(X)
    np.testing.assert_array_equal(found[1], fitted_before.kneighbors(X)[1])


@pytest.mark.parametrize("parameters", [{"metric": "cosine"}, {"metric_params": {"w": [1.0] * 6}}])
def test_pickles_load_without_fastnn(blobs, tmp_path, parameters):
    X, y = blobs
    with accel.enabled():
        model = KNeighborsClassifier(algorithm="brute", **parameters).fit(X, y)
        expected = model.predict(X)
        (tmp_path / "model.pickle").write_bytes(pickle.dumps((model, X)))
    code = (
        "import pickle, sys\n"
        "sys.modules['fastnn'] = None\n"
        f"model, X = pickle.load(open({str(tmp_path / 'model.pickle')!r}, 'rb'))\n"
        "print(*model.predict(X))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.split() == [str(label) for label in expected], result.stderr


def test_a_refit_by_scikit_learn_alone_is_noticed(blobs):
    """What was kept for the old samples must not serve the new ones."""
    X, y = blobs
    model = KNeighborsClassifier(metric="cosine")
    with accel.enabled():
        model.fit(X, y).predict(X)
    model.fit(X[:150], y[:150])
    with accel.enabled():
        found = model.kneighbors(X)[1]
    assert found.max() < 150
    np.testing.assert_array_equal(found, model.kneighbors(X)[1])


@pytest.mark.filterwarnings("ignore:Graph is not fully connected")
@pytest.mark.parametrize(
    ("estimator", "expected"),
    [
        (sklearn.manifold.Isomap(n_neighbors=100), ("kneighbors", True)),
        (sklearn.cluster.DBSCAN(eps=1.5), ("radius_neighbors", True)),
        (sklearn.cluster.OPTICS(), ("kneighbors", True)),
        (
            sklearn.manifold.TSNE(max_iter=250, init="random", random_state=0),
            ("kneighbors", True),
        ),
        (
            sklearn.cluster.SpectralClustering(
                4, affinity="nearest_neighbors", n_neighbors=90, random_state=0
            ),
            ("kneighbors", True),
        ),
        (
            sklearn.semi_supervised.LabelSpreading(kernel="knn", n_neighbors=9),
            ("kneighbors", True),
        ),
        (sklearn.impute.KNNImputer(), ("KNNImputer.transform", True)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_inside_scikit_learn(blobs, estimator, expected):
    X, y = blobs
    if expected == ("KNNImputer.transform", True):
        X = X.copy()
        X[::7, 2] = np.nan  # distances between gaps are scikit-learn's
    report = accel.Report()
    with accel.enabled(report):
        estimator.fit(X, y)
        if hasattr(estimator, "transform"):
            transformed = estimator.transform(X)
    assert expected in operations(report)
    theirs = type(estimator)(**estimator.get_params()).fit(X, y)
    for name in ("labels_", "transduction_"):
        if hasattr(theirs, name):
            np.testing.assert_array_equal(getattr(estimator, name), getattr(theirs, name))
    if hasattr(estimator, "transform"):
        np.testing.assert_allclose(
            np.abs(transformed), np.abs(theirs.transform(X)), rtol=1e-6, atol=1e-8
        )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_functions(rng, dtype):
    X, Y = ((100 * rng.random((n, 9))).astype(dtype) for n in (40, 50))
    calls = [
        lambda: sklearn.metrics.pairwise_distances(X),
        lambda: sklearn.metrics.pairwise_distances(X, Y, "manhattan"),
        lambda: sklearn.metrics.pairwise_distances(X, Y, metric="l2", squared=True),
        lambda: sklearn.metrics.pairwise_distances(X, Y, metric="chebyshev"),
        lambda: pairwise.euclidean_distances(X, Y, squared=True),
        lambda: pairwise.manhattan_distances(X, Y),
        lambda: pairwise.cosine_distances(X),
        lambda: sklearn.metrics.pairwise_distances_argmin(X, Y),
        lambda: sklearn.metrics.pairwise_distances_argmin_min(X, Y, axis=0, metric="cosine")[1],
        lambda: next(sklearn.metrics.pairwise_distances_chunked(X, Y)),
        lambda: pairwise.PAIRWISE_DISTANCE_FUNCTIONS["cityblock"](X, Y),
    ]
    for number, call in enumerate(calls):
        expected = call()
        report = accel.Report()
        with accel.enabled(report):
            found = call()
        assert report.rows(), number
        assert all(reason is None for _, reason, _, _ in report.rows()), number
        # Of all smallest distances scikit-learn has only those of cosine in float32.
        assert found.dtype == (np.float64 if number == 8 else expected.dtype), number
        # scikit-learn subtracts from 1 for cosine distances, and norms for those of X to itself.
        atol = {0: 3e-2, 6: 3e-7, 8: 3e-7}.get(number, 0.0)
        np.testing.assert_allclose(found, expected, rtol=2e-6, atol=atol)


@pytest.mark.parametrize(
    "arguments",
    [
        ([[1.0], [2.0]],),
        (np.full((2, 2), np.nan),),
        (np.ones((2, 2)), np.ones((2, 3))),
        (np.ones((0, 2)),),
        (np.ones(3),),
        (np.ones((2, 2)), None, "nothing"),
        (np.ones((2, 2), bool), None, "braycurtis"),
        (np.ones((2, 2)), None, "precomputed"),
        (np.arange(6.0).reshape(3, 2), None, "hamming"),
        (np.arange(6.0).reshape(3, 2), None, "ip"),
    ],
    ids=str,
)
def test_all_else_is_scikit_learns_own(arguments):
    def result():
        try:
            return sklearn.metrics.pairwise_distances(*arguments)
        except Exception as error:
            return type(error), str(error)

    expected = result()
    with accel.enabled():
        found = result()
    if isinstance(expected, tuple):
        # Names of metrics stand in the message in any order.
        assert found[0] is expected[0]
        assert sorted(found[1]) == sorted(expected[1])
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("n_rows", "n_features", "dtype", "ours"),
    [
        (256, 127, "f4", True),
        (255, 128, "f4", True),
        (256, 128, "f4", False),
        (256, 128, "f8", True),
    ],
)
def test_products_that_scikit_learn_does_faster_are_left_to_it(n_rows, n_features, dtype, ours):
    X = np.ones((n_rows, n_features), dtype)
    report = accel.Report()
    with accel.enabled(report):
        pairwise.pairwise_distances(X, X.copy(), metric="cosine")
        pairwise.pairwise_distances(X, metric="cosine")
    served = {reason is None for _, reason, _, _ in report.rows()}
    assert served == ({True} if ours else {True, False})


def test_norms_are_checked_by_scikit_learn():
    X = np.ones((3, 2))
    with accel.enabled(), pytest.raises(ValueError, match="Incompatible dimensions"):
        pairwise.euclidean_distances(X, X, Y_norm_squared=np.ones(7))


def test_many_threads_install_at_once(blobs):
    X, _ = blobs
    expected = NearestNeighbors().fit(X).kneighbors(X)[1]
    wrong = []

    def work():
        for _ in range(20):
            with accel.enabled():
                if not np.array_equal(NearestNeighbors().fit(X).kneighbors(X)[1], expected):
                    wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
