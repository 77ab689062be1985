"""Overrides are asked: those of subclasses and instances, and those put into scikit-learn."""

import contextlib
import types

import numpy as np
import pytest
import sklearn.metrics
import sklearn.neighbors
from sklearn.metrics import pairwise
from sklearn.neighbors._base import KNeighborsMixin

import fastnn.neighbors
from fastnn import accel
from fastnn._sklearn.originals import ORIGINALS

X = np.array([[0.0], [1.0], [10.0], [11.0]])
Y = [0, 0, 1, 1]


@pytest.fixture(params=["fastnn.neighbors", "fastnn.accel"])
def neighbors(request):
    """A module with the estimators: ours, or scikit-learn's while accelerated."""
    if request.param == "fastnn.neighbors":
        yield fastnn.neighbors
        return
    with accel.enabled():
        yield sklearn.neighbors


def farthest(search, self, X=None, n_neighbors=None, return_distance=True):
    """Return the farthest in the place of the nearest."""
    k = n_neighbors or self.n_neighbors
    distances, indices = search(X, self.n_samples_fit_)
    distances, indices = distances[:, ::-1][:, :k], indices[:, ::-1][:, :k]
    self.n_searches_ = getattr(self, "n_searches_", 0) + 1
    return (distances, indices) if return_distance else indices


def subclass_searching_far(owner):
    class Far(owner):
        def kneighbors(self, *args, **kwargs):
            return farthest(super().kneighbors, self, *args, **kwargs)

    return Far(2)


def instance_searching_far(owner):
    model = owner(2)
    search = model.kneighbors
    model.kneighbors = types.MethodType(
        lambda self, *args, **kwargs: farthest(search, self, *args, **kwargs), model
    )
    return model


searching_far = pytest.mark.parametrize("far", [subclass_searching_far, instance_searching_far])


@searching_far
@pytest.mark.parametrize("weights", ["uniform", "distance", None, np.ones_like])
@pytest.mark.parametrize("algorithm", ["auto", "brute", "kd_tree"])
def test_kneighbors_votes(neighbors, far, weights, algorithm):
    model = far(neighbors.KNeighborsClassifier).set_params(weights=weights, algorithm=algorithm)
    model.fit(X, Y)
    assert model.predict(X).tolist() == [1, 1, 0, 0]
    assert model.predict_proba(X).tolist() == [[0, 1], [0, 1], [1, 0], [1, 0]]
    assert model.score(X, Y) == 0.0
    assert model.n_searches_ == 3, "what it remembers stays with it"
    twice = far(neighbors.KNeighborsClassifier).set_params(weights=weights).fit(X, np.c_[Y, Y])
    assert twice.predict(X).tolist() == [[1, 1], [1, 1], [0, 0], [0, 0]]


@searching_far
def test_kneighbors_means_and_graphs(neighbors, far):
    model = far(neighbors.KNeighborsRegressor).fit(X, Y)
    assert model.predict(X).tolist() == [1, 1, 0, 0]
    assert model.kneighbors_graph(X[:1]).toarray().tolist() == [[0, 0, 1, 1]]


def test_kneighbors_that_finds_what_is_no_sample(neighbors):
    """As of scikit-learn: from the end, or an error. Never memory of others."""

    class Lost(neighbors.KNeighborsClassifier):
        found = -1

        def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
            indices = np.full((len(X), 2), self.found)
            return (np.ones(indices.shape), indices) if return_distance else indices

    model = Lost(2).fit(X, Y)
    assert model.predict(X[:1]) == [1]
    model.found = 4
    for ask in (model.predict, model.predict_proba):
        with pytest.raises(IndexError):
            ask(X)


@pytest.mark.parametrize("weights", ["uniform", "distance"])
def test_kneighbors_that_returns_lists(neighbors, weights):
    class Lists(neighbors.KNeighborsClassifier):
        def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
            found = super().kneighbors(X, n_neighbors, True)
            return (found[0], found[1].tolist()) if return_distance else found[1].tolist()

    model = Lists(2, weights=weights).fit(X, Y)
    assert model.predict(X).tolist() == Y


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("how", ["subclass", "instance"])
def test_radius_neighbors_votes(neighbors, weights, how):
    def everything_but_the_nearest(self, X=None, radius=None, return_distance=True, **kwargs):
        self.n_searches_ = getattr(self, "n_searches_", 0) + 1
        distances = np.empty(len(X), object)
        indices = np.empty(len(X), object)
        for i, x in enumerate(X):
            away = np.abs(self._fit_X[:, 0] - x[0])
            indices[i] = np.flatnonzero(away > 5)
            distances[i] = away[indices[i]]
        return (distances, indices) if return_distance else indices

    owner = neighbors.RadiusNeighborsClassifier
    if how == "subclass":
        model = type("Far", (owner,), {"radius_neighbors": everything_but_the_nearest})()
    else:
        model = owner()
        model.radius_neighbors = types.MethodType(everything_but_the_nearest, model)
    model.set_params(weights=weights).fit(X, Y)
    assert model.predict(X).tolist() == [1, 1, 0, 0]
    assert model.predict_proba(X)[:, 0].tolist() == [0, 0, 1, 1]
    assert model.n_searches_ == 2


@pytest.mark.parametrize("how", ["subclass", "instance", "class"])
def test_fit_is_asked(neighbors, how, monkeypatch):
    owner = neighbors.KNeighborsClassifier

    def fit_reversed(self, X, y=None):
        return original(self, X, np.asarray(y)[::-1])

    original = owner._fit
    model = owner(1)
    if how == "subclass":
        model = type("Reversed", (owner,), {"_fit": fit_reversed})(1)
    elif how == "class":
        monkeypatch.setattr(owner, "_fit", fit_reversed)
    else:
        model._fit = types.MethodType(fit_reversed, model)
    model.fit(X, np.array(Y))
    assert model.predict(X).tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("algorithm", ["auto", "brute"])
@pytest.mark.parametrize("n_features", [1, 20])
def test_predict_proba_is_asked_as_scikit_learn_does(neighbors, algorithm, n_features):
    """Its kernel votes there: for brute force, to which "auto" comes for many features."""

    def certain(owner):
        class Certain(owner):
            def predict_proba(self, X):
                return np.tile([0.0, 1.0], (len(X), 1))

        rows = np.repeat(np.vstack([X, X + 0.5, X + 0.25]), n_features, axis=1)
        return Certain(1, algorithm=algorithm).fit(rows, Y * 3).predict(rows[:4]).tolist()

    found = certain(neighbors.KNeighborsClassifier)
    with contextlib.ExitStack() as stack:
        if neighbors is sklearn.neighbors:  # as it is without us
            for owner, name in (
                (sklearn.neighbors.KNeighborsClassifier, "predict"),
                (sklearn.neighbors._base.NeighborsBase, "_fit"),
            ):
                ours = vars(owner)[name]
                setattr(owner, name, ORIGINALS[owner, name])
                stack.callback(setattr, owner, name, ours)
        expected = certain(sklearn.neighbors.KNeighborsClassifier)
    assert found == expected
    assert (expected == [1, 1, 1, 1]) == (algorithm == "brute" or n_features == 20)


def test_what_others_have_put_into_scikit_learn_stays(monkeypatch):
    def other(self, X=None, n_neighbors=None, return_distance=True):
        return np.zeros((len(X), 1)), np.zeros((len(X), 1), np.intp)

    monkeypatch.setattr(KNeighborsMixin, "kneighbors", other)
    with accel.enabled():
        model = sklearn.neighbors.KNeighborsClassifier(1).fit(X, Y)
        assert model.predict(X).tolist() == [0, 0, 0, 0]
        assert KNeighborsMixin.kneighbors is other
    assert KNeighborsMixin.kneighbors is other
    with accel.enabled():
        monkeypatch.setattr(sklearn.neighbors.KNeighborsClassifier, "predict", len)
    assert sklearn.neighbors.KNeighborsClassifier.predict is len


def test_a_metric_that_was_redefined(monkeypatch):
    def zeros(X, Y=None, **kwargs):
        return np.zeros((len(X), len(X if Y is None else Y)))

    monkeypatch.setitem(pairwise.PAIRWISE_DISTANCE_FUNCTIONS, "manhattan", zeros)
    with accel.enabled():
        assert not sklearn.metrics.pairwise_distances(X, metric="manhattan").any()
        assert sklearn.metrics.pairwise_distances(X, metric="l1").any()


def test_estimators_that_compare_as_equal(neighbors):
    class Equal(neighbors.NearestNeighbors):
        def __eq__(self, other):
            return type(self) is type(other)

        __hash__ = None

    models = [Equal().fit(X), Equal().fit(X[::-1].copy())]
    for _ in range(2):
        assert [model.kneighbors(X[:1], 1)[1].item() for model in models] == [0, 3]
