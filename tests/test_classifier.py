"""KNeighborsClassifier: scikit-learn's contract and scikit-learn's answers."""

import pickle
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import sklearn.neighbors
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

import fastnn
from fastnn._sklearn import votes
from fastnn._sklearn.mixins import fit_plain
from fastnn.neighbors import KNeighborsClassifier


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    X = np.ascontiguousarray(X)
    return X[:1000], y[:1000], X[1000:], y[1000:]


@pytest.mark.parametrize("metric", ["l1", "l2"])
@pytest.mark.parametrize("weights", ["uniform", "distance", lambda d: np.exp(-d)])
@pytest.mark.parametrize("k", [1, 2, 5, 8])
def test_equals_scikit_learn(digits, k, weights, metric):
    X, y, X_test, y_test = digits
    ours = KNeighborsClassifier(k, weights=weights, metric=metric).fit(X, y)
    # Its tree evaluates distances in float64 difference form, as we do.
    theirs = sklearn.neighbors.KNeighborsClassifier(
        k, weights=weights, metric=metric, algorithm="kd_tree"
    ).fit(X, y)
    # Where the k-th distance is tied, scikit-learn keeps either neighbor; those rows are left out.
    distances = np.sort(fastnn.pairwise_distances(X_test, X, metric), axis=1)
    untied = distances[:, k - 1] < distances[:, k]
    assert untied.mean() > 0.6
    proba = theirs.predict_proba(X_test)
    np.testing.assert_allclose(ours.predict_proba(X_test)[untied], proba[untied], rtol=1e-12)
    clear = untied & (np.diff(np.sort(proba, axis=1)[:, -2:], axis=1)[:, 0] > 1e-9)
    np.testing.assert_array_equal(ours.predict(X_test)[clear], theirs.predict(X_test)[clear])
    assert ours.score(X_test, y_test) == np.mean(ours.predict(X_test) == y_test)


def test_ties_go_to_the_smallest_class():
    model = KNeighborsClassifier(4).fit([[1.0], [1.0], [1.0], [1.0]], ["d", "b", "b", "d"])
    assert model.predict([[0.0]]) == ["b"]


def test_a_neighbor_at_distance_zero_takes_all_the_weight():
    model = KNeighborsClassifier(3, weights="distance").fit([[0.0], [0.1], [0.1]], [0, 1, 1])
    np.testing.assert_array_equal(model.predict_proba([[0.0]]), [[1.0, 0.0]])
    assert model.predict_proba([[0.05]])[0, 1] > 0.6


def test_labels_of_any_type():
    X = [[0.0], [1.0], [2.0]]
    for y in (["x", "y", "x"], [True, False, True], [10, -3, 10], np.array([1.0, 2.0, 1.0])):
        model = KNeighborsClassifier(1).fit(X, y)
        np.testing.assert_array_equal(model.predict(X), y)
        np.testing.assert_array_equal(model.classes_, np.unique(y))


def test_many_classes_in_slices(rng, monkeypatch):
    monkeypatch.setattr(votes, "VOTES_PER_SLICE", 1000)
    X = rng.standard_normal((300, 3))
    y = np.arange(300) % 100
    model = KNeighborsClassifier(1).fit(X, y)
    np.testing.assert_array_equal(model.predict(X), y)
    np.testing.assert_array_equal(model.predict_proba(X), np.eye(100)[y])


def test_kneighbors(digits):
    X, y, X_test, _ = digits
    model = KNeighborsClassifier(4).fit(X, y)
    distances, indices = model.kneighbors(X_test)
    expected = fastnn.kneighbors(X_test, X, 4)
    np.testing.assert_array_equal(indices, expected[1])
    np.testing.assert_array_equal(distances, expected[0])
    assert model.kneighbors(X_test[:2], 7)[0].shape == (2, 7)
    np.testing.assert_array_equal(model.kneighbors(X_test, return_distance=False), indices)


def test_uint8_pixels_stay_bytes(digits):
    X, y, X_test, _ = digits
    model = KNeighborsClassifier(3).fit(X.astype(np.uint8), y)
    assert model._fit_X.dtype == np.uint8
    expected = KNeighborsClassifier(3).fit(X, y).predict(X_test)
    np.testing.assert_array_equal(model.predict(X_test.astype(np.uint8)), expected)
    np.testing.assert_array_equal(model.predict(X_test), expected)


def test_data_frames():
    X = pd.DataFrame({"a": [0.0, 1.0, 2.0], "b": [0.0, 0.0, 1.0]})
    model = KNeighborsClassifier(1).fit(X, pd.Series(["p", "q", "r"]))
    assert list(model.feature_names_in_) == ["a", "b"]
    assert list(model.predict(X)) == ["p", "q", "r"]
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X.to_numpy())
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(X.rename(columns={"a": "z"}))


def test_clone_pickle_and_cross_validation(digits):
    X, y, X_test, _ = digits
    model = KNeighborsClassifier(3, weights="distance", metric="l1").fit(X, y)
    assert clone(model).get_params() == model.get_params()
    copy = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(copy.predict(X_test), model.predict(X_test))
    assert cross_val_score(KNeighborsClassifier(3), X, y, cv=3).min() > 0.9


def test_pickle_loads_under_another_instruction_set(digits, tmp_path):
    X, y, X_test, _ = digits
    model = KNeighborsClassifier(3).fit(X, y)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps((model, X_test)))
    code = (
        "import pickle, sys, fastnn\n"
        "fastnn.set_isa(fastnn.available_isas()[-1])\n"
        f"model, X = pickle.load(open({str(tmp_path / 'model.pickle')!r}, 'rb'))\n"
        "print(*model.predict(X))\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True
    )
    assert result.stdout.split() == [str(label) for label in model.predict(X_test)]


def test_not_fitted():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        KNeighborsClassifier().predict([[1.0]])


def test_bad_training_data():
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        KNeighborsClassifier().fit([[0.0], [1.0]], [0])
    with pytest.raises(ValueError, match="Unknown label type"):
        KNeighborsClassifier().fit([[0.0], [1.0]], [0.5, 1.5])
    with pytest.raises(ValueError, match="NaN"):
        KNeighborsClassifier().fit([[np.nan], [1.0]], [0, 1])


def test_bad_queries(digits):
    X, y, _, _ = digits
    model = KNeighborsClassifier().fit(X, y)
    with pytest.raises(
        ValueError, match="X has 3 features, but KNeighborsClassifier is expecting 64"
    ):
        model.predict(np.ones((2, 3)))
    with pytest.raises(ValueError, match="1D array"):
        model.predict(X[0])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        model.predict(np.full((2, 64), np.nan))
    with pytest.raises(ValueError, match="n_neighbors = 1001, n_samples_fit = 1000"):
        model.kneighbors(X, 1001)


def test_leave_one_out(digits):
    X, y, _, _ = digits
    model = KNeighborsClassifier(3).fit(X, y)
    distances, indices = fastnn.kneighbors(X, X, 4)
    expected = [
        np.bincount(y[row[row != i][:3]], minlength=10).argmax() for i, row in enumerate(indices)
    ]
    assert (distances[:, 0] == 0.0).all()
    np.testing.assert_array_equal(model.predict(None), expected)


@pytest.mark.parametrize("weights", ["uniform", "distance", None])
def test_several_outputs(digits, weights):
    X, y, X_test, _ = digits
    both = np.column_stack([y, y % 2])
    model = KNeighborsClassifier(1, weights=weights).fit(X, both)
    single = KNeighborsClassifier(1, weights=weights).fit(X, y)
    np.testing.assert_array_equal(model.predict(X_test)[:, 0], single.predict(X_test))
    np.testing.assert_array_equal(model.predict_proba(X_test)[0], single.predict_proba(X_test))


def test_the_quick_way_to_fit_leaves_the_same_attributes(digits):
    """What is plainly right skips scikit-learn's checks: nobody must be able to tell."""
    X, y, _, _ = digits
    for metric, p in (("minkowski", 1), ("minkowski", 2), ("l1", 2), ("euclidean", 3)):
        quick = KNeighborsClassifier(metric=metric, p=p)
        quick.fit(pd.DataFrame(X, columns=[f"f{i}" for i in range(64)]), y)
        assert fit_plain(quick, X, y)
        slow = KNeighborsClassifier(metric=metric, p=p)
        assert super(KNeighborsClassifier, slow).fit(X, y) is slow
        theirs = sklearn.neighbors.KNeighborsClassifier(metric=metric, p=p, algorithm="brute")
        theirs.fit(X, y)
        for other in (slow, theirs):
            ours_alone = {"recall", "class_weight", "_given_weights", "_sample_weights"}
            assert vars(quick).keys() - ours_alone == vars(other).keys() - ours_alone
            for name in vars(other).keys() - ours_alone - {"algorithm"}:
                value = getattr(quick, name)
                assert type(value) is type(getattr(other, name))
                np.testing.assert_array_equal(value, getattr(other, name))


@pytest.mark.parametrize(
    "parameters",
    [
        {"n_neighbors": 0},
        {"n_neighbors": 2.0},
        {"recall": 1.1},
        {"weights": "heavy"},
        {"algorithm": "magic"},
        {"leaf_size": 0},
        {"p": 0.5},
        {"p": 1.5},
        {"metric": "nothing"},
        {"metric": "braycurtis"},
        {"metric_params": {"p": 1}},
        {"n_jobs": 1.0},
    ],
)
def test_the_quick_way_to_fit_is_for_plain_parameters(digits, parameters):
    X, y, _, _ = digits
    assert not fit_plain(KNeighborsClassifier(**parameters), X, y)


def test_the_quick_way_to_fit_is_for_plain_data(digits):
    X, y, _, _ = digits
    model = KNeighborsClassifier()
    bad = X.copy()
    bad[3, 3] = np.nan
    for X_odd, y_odd in [
        (X.tolist(), y),
        (X.astype(int), y),
        (np.asfortranarray(X), y),
        (X[0], y),
        (bad, y),
        (X, y[1:]),
        (X, y.tolist()),
        (X, y.astype(float)),
        (X, y[:, None]),
        (X, np.arange(1000)),
        (X[:0], y[:0]),
    ]:
        assert not fit_plain(model, X_odd, y_odd)
    assert vars(model).keys() == vars(KNeighborsClassifier()).keys()
