"""The estimators are scikit-learn's: its contract, its errors, its answers."""

import copy
import gc
import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
import sklearn.exceptions
import sklearn.neighbors
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import DistanceMetric
from sklearn.utils.estimator_checks import check_estimator, parametrize_with_checks
from sklearn.utils.validation import has_fit_parameter

import datasets_for_search as data
import fastnn.neighbors
import oracles
from fastnn._search import brute
from fastnn._search.metric_spaces import space_of
from fastnn._sklearn import preparation

# The estimators that are not scikit-learn's as they are.
NAMES = [
    name
    for name in fastnn.neighbors.__all__
    if isinstance(getattr(fastnn.neighbors, name), type)
    and issubclass(getattr(fastnn.neighbors, name), BaseEstimator)
    and hasattr(sklearn.neighbors, name)
    and getattr(fastnn.neighbors, name) is not getattr(sklearn.neighbors, name)
]
METRICS = [
    ("l1", {}),
    ("manhattan", {}),
    ("cityblock", {}),
    ("l2", {}),
    ("euclidean", {}),
    ("sqeuclidean", {}),
    ("chebyshev", {}),
    ("cosine", {}),
    ("correlation", {}),
    ("minkowski", {"p": 1}),
    ("minkowski", {"p": 2}),
    ("minkowski", {"p": np.inf}),
    ("minkowski", {"p": 1, "metric_params": {"w": np.arange(1.0, 9.0)}}),
    ("minkowski", {"p": 2, "metric_params": {"w": np.arange(1.0, 9.0)}}),
]


EXPECTED_TO_FAIL = dict.fromkeys(
    (
        "check_sample_weight_equivalence_on_dense_data",
        "check_sample_weight_equivalence_on_sparse_data",
    ),
    "weights multiply the votes of n_neighbors samples, which repeated samples would be",
)


def expected_to_fail(estimator):
    return EXPECTED_TO_FAIL if has_fit_parameter(estimator, "sample_weight") else {}


@parametrize_with_checks(
    [getattr(fastnn.neighbors, name)() for name in NAMES],
    expected_failed_checks=expected_to_fail,
)
@pytest.mark.filterwarnings("ignore")  # theirs, about what the checks feed them
def test_scikit_learn_contract(estimator, check):
    check(estimator)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("metric", "p"),
    [("manhattan", 2), ("sqeuclidean", 2), ("chebyshev", 2), ("cosine", 2), ("minkowski", 1)],
)
@pytest.mark.filterwarnings("ignore")
def test_scikit_learn_contract_with_other_metrics(name, metric, p):
    """What fails is what fails for scikit-learn: sparse input, targets of regression."""

    def failures(module):
        estimator = getattr(module, name)(metric=metric, p=p)
        results = check_estimator(
            estimator,
            expected_failed_checks=expected_to_fail(estimator),
            on_skip=None,
            on_fail=None,
        )
        return {result["check_name"] for result in results if result["status"] == "failed"}

    ours = failures(fastnn.neighbors)
    assert not ours or ours <= failures(sklearn.neighbors)


def pair(name, *arguments, **parameters):
    """Ours and scikit-learn's."""
    return [
        getattr(module, name)(*arguments, **parameters)
        for module in (fastnn.neighbors, sklearn.neighbors)
    ]


@pytest.fixture
def sets(rng):
    return rng.standard_normal((300, 8)), rng.standard_normal((40, 8)), rng.integers(0, 3, 300)


@pytest.mark.parametrize(("metric", "parameters"), METRICS)
@pytest.mark.parametrize("name", NAMES)
def test_estimators_stay_as_they_were_fitted(sets, name, metric, parameters):
    """For joblib.Memory, whose keys are hashes, and for the size of pickles."""
    X, queries, y = sets
    parameters = copy.deepcopy(parameters) | ({"radius": 100.0} if "Radius" in name else {})
    model = getattr(fastnn.neighbors, name)(metric=metric, **parameters).fit(X, y)

    def state():
        # scikit-learn puts p into a user's metric_params.
        held = {key: value for key, value in vars(model).items() if key != "metric_params"}
        return set(held), joblib.hash(held), len(pickle.dumps(held))

    before = state()
    for method in ("kneighbors", "radius_neighbors", "predict", "transform"):
        if hasattr(model, method):
            getattr(model, method)(queries)
    assert state() == before


@pytest.mark.parametrize("kind", [np.asarray, pd.DataFrame, list])
@pytest.mark.parametrize("name", NAMES)
def test_weights_for_other_features(sets, name, kind):
    """Where scikit-learn says so, in its words: in fit, or with algorithm="brute" in the search."""
    X, _, y = sets
    parameters = {"metric": "minkowski", "metric_params": {"w": np.ones(5)}}
    with pytest.raises(ValueError, match="the size of w must match"):
        getattr(fastnn.neighbors, name)(**parameters).fit(kind(X), y)


@pytest.mark.parametrize("metric", ["l2", "cosine"])
def test_other_values_in_the_same_array(rng, metric):
    """What was made for the values before does not serve those of the next fit."""
    X, queries = rng.standard_normal((2000, 3)), rng.standard_normal((200, 3))
    model = fastnn.neighbors.NearestNeighbors(metric=metric).fit(X)
    model.kneighbors(queries)
    X[:] = rng.standard_normal(X.shape)
    expected = fastnn.neighbors.NearestNeighbors(metric=metric).fit(X.copy()).kneighbors(queries)
    np.testing.assert_array_equal(model.fit(X).kneighbors(queries), expected)
    classifier = fastnn.neighbors.KNeighborsClassifier(metric=metric)
    y = np.arange(2000) % 2
    classifier.fit(X, y).predict(queries)
    X[:] = rng.standard_normal(X.shape)
    expected = fastnn.neighbors.KNeighborsClassifier(metric=metric).fit(X.copy(), y)
    np.testing.assert_array_equal(
        classifier.fit(X, y).kneighbors(queries), expected.kneighbors(queries)
    )


@pytest.mark.parametrize(("metric", "parameters"), METRICS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_searches_equal_scikit_learn(sets, fallbacks, metric, parameters, dtype):
    X, queries, _ = (a.astype(dtype) if a.dtype == float else a for a in sets)
    ours, theirs = pair("NearestNeighbors", metric=metric, algorithm="brute", **parameters)
    ours.set_params(algorithm="auto").fit(X)
    theirs.fit(X.astype(float))
    tolerance = {"rtol": 1e-12, "atol": 1e-13} if dtype == np.float64 else {"rtol": 1e-6}
    for Q in (queries, queries[:1], None):
        wide = Q if Q is None else Q.astype(float)
        distances, indices = ours.kneighbors(Q, 7)
        expected = theirs.kneighbors(wide, 7)
        np.testing.assert_array_equal(indices, expected[1])
        np.testing.assert_allclose(distances, expected[0], **tolerance)
        radius = float(np.mean(distances[:, [5, 6]]))
        found = ours.radius_neighbors(Q, radius, sort_results=True)
        expected = theirs.radius_neighbors(wide, radius, sort_results=True)
        for kind in range(2):
            for mine, other in zip(found[kind], expected[kind], strict=True):
                np.testing.assert_allclose(mine, other, **tolerance)
        for mine, other in zip(
            ours.radius_neighbors(Q, radius, return_distance=False), found[1], strict=True
        ):
            np.testing.assert_array_equal(mine, np.sort(other))
    assert fallbacks() == []


@pytest.mark.parametrize("mode", ["connectivity", "distance"])
def test_graphs(sets, mode):
    X, queries, _ = sets
    ours, theirs = pair("NearestNeighbors", n_neighbors=4, radius=2.0, algorithm="kd_tree")
    ours.set_params(algorithm="auto").fit(X)
    theirs.fit(X)
    for Q in (None, queries):
        graph, expected = (model.kneighbors_graph(Q, mode=mode) for model in (ours, theirs))
        assert type(graph) is type(expected)
        assert graph.indices.dtype == graph.indptr.dtype == np.int32
        np.testing.assert_array_equal(graph.indices, expected.indices)
        np.testing.assert_allclose(graph.data, expected.data, rtol=1e-12)
        graph, expected = (model.radius_neighbors_graph(Q, mode=mode) for model in (ours, theirs))
        np.testing.assert_allclose(graph.toarray(), expected.toarray(), rtol=1e-12)
        assert graph.has_sorted_indices


def test_graph_takes_the_distances_without_a_copy(sets, monkeypatch):
    model = fastnn.neighbors.NearestNeighbors(n_neighbors=4, algorithm="brute").fit(sets[0])
    seen = []
    find = brute.find_neighbors

    def spy(*arguments):
        seen.append(find(*arguments))
        return seen[-1]

    monkeypatch.setattr(brute, "find_neighbors", spy)
    graph = model.kneighbors_graph(mode="distance")
    assert np.shares_memory(graph.data, seen[0][0])


@pytest.mark.parametrize("include_self", [True, False, "auto"])
@pytest.mark.parametrize("mode", ["connectivity", "distance"])
def test_graph_functions(sets, mode, include_self):
    X = sets[0]
    for name, size in (("kneighbors_graph", 3), ("radius_neighbors_graph", 2.0)):
        for given in (X, fastnn.neighbors.NearestNeighbors().fit(X)):
            graph = getattr(fastnn.neighbors, name)(
                given, size, mode=mode, include_self=include_self
            )
            expected = getattr(sklearn.neighbors, name)(
                X, size, mode=mode, include_self=include_self
            )
            np.testing.assert_allclose(graph.toarray(), expected.toarray(), rtol=1e-12)


def test_graph_functions_refuse_what_scikit_learn_refuses():
    for name in ("kneighbors_graph", "radius_neighbors_graph"):
        for arguments in (([[1.0]], "few"), ([[1.0]], 1, "heavy")):
            assert_same_error(
                *(
                    lambda module=module, name=name, a=arguments: getattr(module, name)(
                        *a[:2], **({"mode": a[2]} if len(a) > 2 else {})
                    )
                    for module in (fastnn.neighbors, sklearn.neighbors)
                )
            )


def weigh_rows(distances):
    """Weights for the rows of different lengths of a radius search."""
    weights = np.empty(len(distances), dtype=object)
    for i, row in enumerate(distances):
        weights[i] = np.exp(-row)
    return weights


@pytest.mark.parametrize("weights", ["uniform", "distance", lambda d: np.exp(-d)])
@pytest.mark.parametrize("outputs", [1, 2])
def test_predictors_equal_scikit_learn(sets, weights, outputs):
    X, queries, labels = sets
    labels = labels if outputs == 1 else np.column_stack([labels, labels == 1])
    values = X[:, 0] if outputs == 1 else X[:, :2]
    for name, size in (("KNeighbors", {"n_neighbors": 5}), ("RadiusNeighbors", {"radius": 3.5})):
        if name == "RadiusNeighbors" and callable(weights):
            weights = weigh_rows
        ours, theirs = pair(name + "Classifier", weights=weights, **size)
        ours.fit(X, labels)
        theirs.fit(X, labels)
        for Q in (queries, None):
            np.testing.assert_array_equal(ours.predict(Q), theirs.predict(Q))
            shares, expected = ours.predict_proba(Q), theirs.predict_proba(Q)
            for mine, other in zip(shares, expected, strict=True):
                np.testing.assert_allclose(mine, other, rtol=1e-9, atol=1e-12)
        ours, theirs = pair(name + "Regressor", weights=weights, **size)
        np.testing.assert_allclose(
            ours.fit(X, values).predict(queries), theirs.fit(X, values).predict(queries), rtol=1e-9
        )


def test_weights_that_are_all_zero_are_refused(sets):
    X, queries, y = sets
    ours, theirs = pair("KNeighborsClassifier", weights=np.zeros_like)
    for method in ("predict", "predict_proba"):
        assert_same_error(
            *(
                lambda m=m, method=method: getattr(m.fit(X, y), method)(queries)
                for m in (ours, theirs)
            )
        )


def test_weights_of_one_column_are_broadcast_as_in_scikit_learn(sets):
    X, queries, y = sets
    ours, theirs = pair("KNeighborsClassifier", weights=lambda d: 1.0 / d[:, :1])
    np.testing.assert_array_equal(
        ours.fit(X, y).predict(queries), theirs.fit(X, y).predict(queries)
    )


def test_outliers_equal_scikit_learn(sets):
    X, queries, _ = sets
    for novelty in (False, True):
        ours, theirs = pair("LocalOutlierFactor", n_neighbors=9, novelty=novelty)
        ours.fit(X)
        theirs.fit(X)
        np.testing.assert_allclose(
            ours.negative_outlier_factor_, theirs.negative_outlier_factor_, rtol=1e-9
        )
        if novelty:
            np.testing.assert_array_equal(ours.predict(queries), theirs.predict(queries))


def test_transformers(sets):
    X, queries, _ = sets
    for name, parameters in (
        ("KNeighborsTransformer", {"n_neighbors": 4}),
        ("RadiusNeighborsTransformer", {"radius": 2.5}),
    ):
        for mode in ("distance", "connectivity"):
            ours, theirs = pair(name, mode=mode, **parameters)
            graph, expected = ours.fit_transform(X), theirs.fit_transform(X)
            assert type(graph) is type(expected)
            np.testing.assert_allclose(graph.toarray(), expected.toarray(), rtol=1e-12)
            if mode == "distance":
                assert (graph.diagonal() == 0.0).all()
                assert graph.nnz == expected.nnz
                rows = [
                    graph.data[i:j] for i, j in zip(graph.indptr, graph.indptr[1:], strict=False)
                ]
                assert all((np.diff(row) >= 0).all() for row in rows)
            np.testing.assert_allclose(
                ours.transform(queries).toarray(), theirs.transform(queries).toarray(), rtol=1e-12
            )
            assert list(ours.get_feature_names_out()) == list(theirs.get_feature_names_out())


# ---- what scikit-learn does ----------------------------------------------------------------------

FALLBACKS = [
    ({"metric": "braycurtis"}, "metric 'braycurtis'"),
    ({"metric": "minkowski", "p": 3}, "metric 'minkowski' with p=3"),
    ({"metric": lambda x, y: abs(x - y).sum()}, "is not a name"),
    ({"algorithm": "ball_tree"}, "algorithm 'ball_tree'"),
    ({"metric": "haversine", "algorithm": "ball_tree"}, "algorithm 'ball_tree'"),
    (
        {"metric": "seuclidean", "metric_params": {"V": np.ones(2)}, "algorithm": "brute"},
        "with parameters ['V']",
    ),
    (
        {"metric": "minkowski", "p": 1.5, "metric_params": {"w": np.ones(2)}},
        "with p=1.5",
    ),
]


@pytest.mark.parametrize(("parameters", "reason"), FALLBACKS)
def test_fallbacks_give_the_same_and_say_why(rng, fallbacks, parameters, reason):
    X, queries = rng.random((60, 2)), rng.random((9, 2))
    ours, theirs = pair("NearestNeighbors", n_neighbors=3, radius=0.2, **parameters)
    for _ in range(2):
        np.testing.assert_array_equal(
            ours.fit(X).kneighbors(queries), theirs.fit(X).kneighbors(queries)
        )
    for mine, other in zip(
        ours.radius_neighbors(queries, return_distance=False),
        theirs.radius_neighbors(queries, return_distance=False),
        strict=True,
    ):
        np.testing.assert_array_equal(mine, other)
    messages = fallbacks()
    assert len(messages) == 2, "each fallback is logged once"
    assert messages[0].startswith("kneighbors falls back to scikit-learn: ")
    assert messages[1].startswith("radius_neighbors falls back to scikit-learn: ")
    assert all(reason in message for message in messages)


def test_metric_objects_fall_back(rng, fallbacks):
    X = rng.random((60, 2))
    ours, theirs = pair("NearestNeighbors", metric=DistanceMetric.get_metric("manhattan"))
    np.testing.assert_array_equal(ours.fit(X).kneighbors(X), theirs.fit(X).kneighbors(X))
    assert "is not a name" in fallbacks()[0]


def test_sparse_input_falls_back(rng, fallbacks):
    X = scipy.sparse.csr_array(rng.random((60, 7)) * (rng.random((60, 7)) < 0.4))
    ours, theirs = pair("NearestNeighbors", n_neighbors=3)
    np.testing.assert_allclose(ours.fit(X).kneighbors(X)[0], theirs.fit(X).kneighbors(X)[0])
    np.testing.assert_allclose(
        ours.fit(X.toarray()).kneighbors(X)[0], theirs.kneighbors(X)[0], atol=1e-7
    )
    assert fallbacks() == ["kneighbors falls back to scikit-learn: sparse input"]


def test_precomputed_distances_and_graphs(sets, fallbacks):
    X, _, y = sets
    graph = fastnn.neighbors.KNeighborsTransformer(n_neighbors=6).fit_transform(X)
    for precomputed in (graph, fastnn.pairwise_distances(X)):
        model = fastnn.neighbors.KNeighborsClassifier(4, metric="precomputed").fit(precomputed, y)
        direct = fastnn.neighbors.KNeighborsClassifier(4).fit(X, y)
        np.testing.assert_array_equal(model.predict(precomputed), direct.predict(X))
    assert all("precomputed" in message for message in fallbacks())


def test_large_sets_of_few_features_use_the_tree(rng, fallbacks):
    X = rng.random((2000, 4))
    for samples in (X, pd.DataFrame(X)):
        model = fastnn.neighbors.NearestNeighbors().fit(samples)
        np.testing.assert_array_equal(
            model.kneighbors(samples)[1], oracles.kneighbors(X, X, 5, "l2")[1]
        )
        assert model.effective_algorithm_ == "kd_tree"
        assert model.algorithm == "auto"
    assert fallbacks() == []


@pytest.mark.parametrize("metric", ["euclidean", "manhattan", "chebyshev", "minkowski"])
@pytest.mark.parametrize("d", [1, 3, 20])
def test_the_tree_by_name(rng, fallbacks, metric, d):
    X, queries = rng.random((400, d)), rng.random((30, d))
    ours, theirs = (
        module.NearestNeighbors(n_neighbors=6, radius=0.2, algorithm="kd_tree", metric=metric)
        for module in (fastnn.neighbors, sklearn.neighbors)
    )
    ours.fit(X), theirs.fit(X)
    for Q in (None, queries):
        for mine, other in zip(ours.kneighbors(Q), theirs.kneighbors(Q), strict=True):
            np.testing.assert_allclose(mine, other)
        for mine, other in zip(
            ours.radius_neighbors(Q, return_distance=False),
            theirs.radius_neighbors(Q, return_distance=False),
            strict=True,
        ):
            np.testing.assert_array_equal(np.sort(mine), np.sort(other))
    assert (ours.algorithm, ours.effective_algorithm_) == ("kd_tree", "kd_tree")
    assert fallbacks() == []


def test_trees_by_name_that_scikit_learn_keeps(rng, fallbacks):
    """What no k-d tree may have is refused, and sparse rows have none."""
    X = rng.random((50, 3))
    for parameters in ({"metric": "cosine"}, {"metric": "sqeuclidean"}):
        with pytest.raises(ValueError, match="not valid"):
            fastnn.neighbors.NearestNeighbors(algorithm="kd_tree", **parameters).fit(X)
    sparse = scipy.sparse.csr_array(X)
    with pytest.warns(UserWarning, match="cannot use tree with sparse input"):
        model = fastnn.neighbors.NearestNeighbors(algorithm="kd_tree").fit(sparse)
    np.testing.assert_array_equal(model.kneighbors(sparse)[1], oracles.kneighbors(X, X, 5, "l2")[1])
    model = fastnn.neighbors.NearestNeighbors(algorithm="kd_tree").fit(X)
    with pytest.raises(ValueError, match="does not work with sparse matrices"):
        model.kneighbors(sparse)
    radii = np.linspace(0.1, 0.5, 50)
    own = model.radius_neighbors(X, radii, return_distance=False)
    for i, found in enumerate(own):
        expected = model.radius_neighbors(X[i : i + 1], radii[i], return_distance=False)[0]
        np.testing.assert_array_equal(np.sort(found), np.sort(expected))
    # Parameters that change after fit, copies, and estimators that take another's fit.
    model.set_params(algorithm="auto")
    own = model.radius_neighbors(X, radii, return_distance=False)
    assert len(own) == 50
    fitted = fastnn.neighbors.NearestNeighbors(algorithm="kd_tree").fit(X)
    again = pickle.loads(pickle.dumps(fitted))
    assert again.explain_algorithm() == "kd_tree: algorithm='kd_tree'"
    np.testing.assert_array_equal(again.kneighbors(X)[1], oracles.kneighbors(X, X, 5, "l2")[1])
    given = fastnn.neighbors.NearestNeighbors(algorithm="kd_tree", metric="manhattan").fit(X)
    taken = fastnn.neighbors.NearestNeighbors(algorithm="kd_tree").fit(given)
    np.testing.assert_array_equal(taken.kneighbors(X)[1], given.kneighbors(X)[1])
    brute = fastnn.neighbors.NearestNeighbors(algorithm="brute", metric="braycurtis").fit(X)
    brute.set_params(algorithm="kd_tree").kneighbors(X)
    fitted.set_params(algorithm="brute").fit(X)
    assert fitted.effective_algorithm_ == "brute"
    assert fitted._tree is None
    model = fastnn.neighbors.NearestNeighbors(algorithm="kd_tree", p=3).fit(X)
    assert model.effective_algorithm_ == "kd_tree"
    assert "p=3" in model.explain_algorithm()


def test_fitted_with_a_tree_or_an_estimator(sets, fallbacks):
    X, queries, _ = sets
    expected = oracles.kneighbors(queries, X, 5, "l2")[1]
    fitted = fastnn.neighbors.NearestNeighbors().fit(X)
    for given in (sklearn.neighbors.KDTree(X), sklearn.neighbors.BallTree(X), fitted):
        model = fastnn.neighbors.NearestNeighbors().fit(given)
        np.testing.assert_array_equal(model.kneighbors(queries)[1], expected)
    for method in (model.kneighbors, model.radius_neighbors):
        with pytest.raises(
            ValueError, match="X has 3 features, but NearestNeighbors is expecting 8"
        ):
            method(queries[:, :3])
    assert len(fallbacks()) == 2


@pytest.mark.parametrize(
    ("metric", "parameters"),
    [
        ("minkowski", {"w": -np.ones(3)}),
        ("minkowski", {"w": np.full(3, np.nan)}),
        ("minkowski", {"w": np.ones((3, 1))}),
        ("minkowski", {"w": np.array(["1"])}),
        ("minkowski", {"w": np.ones(3), "p": np.inf}),
        ("minkowski", {"p": 1, "q": 2}),
        ("l1", {"p": 2}),
    ],
)
def test_parameters_without_a_space(metric, parameters):
    assert isinstance(space_of(metric, **parameters), str)


def test_weights_that_do_not_fit_are_left_to_scikit_learn(sets):
    X, queries, _ = sets
    models = pair("NearestNeighbors", metric_params={"w": np.ones(3)}, algorithm="brute")
    assert_same_error(*(lambda m=m: m.fit(X).kneighbors(queries) for m in models))


# ---- errors --------------------------------------------------------------------------------------


def assert_same_error(ours, theirs):
    """Both calls raise, the same type with the same message."""
    with pytest.raises(Exception) as expected:  # noqa: PT011
        theirs()
    with pytest.raises(type(expected.value)) as found:
        ours()
    assert str(found.value) == str(expected.value)


BAD_PARAMETERS = [
    {"n_neighbors": 0},
    {"n_neighbors": 2.5},
    {"n_neighbors": "3"},
    {"radius": -1.0},
    {"weights": "heavy"},
    {"algorithm": "magic"},
    {"leaf_size": 0},
    {"p": 0},
    {"metric": "nothing"},
    {"metric": "euclidean", "algorithm": "kd_tree", "metric_params": {"V": 1}},
    {"metric": "cosine", "algorithm": "kd_tree"},
    {"metric_params": 3},
    {"n_jobs": 1.5},
    {"n_jobs": 0},
    {"contamination": 2.0},
    {"mode": "heavy"},
]


@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_bad_parameters(sets, name, parameters):
    X, queries, y = sets
    if not parameters.keys() <= getattr(fastnn.neighbors, name)().get_params().keys():
        with pytest.raises(TypeError, match="unexpected keyword"):
            getattr(fastnn.neighbors, name)(**parameters)
        return

    def use(model):
        model.fit(X, y)
        if hasattr(model, "kneighbors"):
            return model.kneighbors(queries)
        return model.radius_neighbors(queries)

    ours, theirs = pair(name, **parameters)
    if "n_jobs" in parameters and not hasattr(ours, "kneighbors"):
        pytest.skip("scikit-learn's radius search does not look at n_jobs=0")
    # Ours know some names more.
    if parameters == {"algorithm": "magic"}:
        with pytest.raises(ValueError, match=r"'algorithm' parameter .*'bounded'.* Got 'magic'"):
            use(ours)
        return
    if parameters == {"metric": "nothing"} and name == "NearestNeighbors":
        with pytest.raises(ValueError, match=r"'metric' parameter .*'ip'.* Got 'nothing'"):
            use(ours)
        return
    assert_same_error(lambda: use(ours), lambda: use(theirs))


def bad_arrays():
    nan, infinite = np.zeros((5, 8)), np.zeros((5, 8))
    nan[2, 3], infinite[1, 1] = np.nan, np.inf
    return {
        "nan": nan,
        "infinity": infinite,
        "nan32": nan.astype(np.float32),
        "empty": np.zeros((0, 8)),
        "no features": np.zeros((5, 0)),
        "1-D": np.zeros(8),
        "3-D": np.zeros((2, 3, 8)),
        "scalar": 3.0,
        "strings": np.full((5, 8), "a"),
        "complex": np.zeros((5, 8), complex),
        "objects": np.full((5, 8), None),
        "ragged": [[1.0, 2.0], [1.0]],
    }


@pytest.mark.parametrize("kind", bad_arrays())
@pytest.mark.parametrize("name", NAMES)
def test_bad_training_data(name, kind):
    bad = bad_arrays()[kind]
    y = np.arange(5) % 2
    ours, theirs = pair(name)
    assert_same_error(lambda: ours.fit(bad, y), lambda: theirs.fit(bad, y))


@pytest.mark.parametrize("metric", ["l2", "cosine", "minkowski", "chebyshev"])
@pytest.mark.parametrize("kind", [*bad_arrays(), "features"])
def test_bad_queries(sets, kind, metric):
    bad = np.zeros((3, 5)) if kind == "features" else bad_arrays()[kind]
    w = {"w": np.arange(8.0)} if metric == "minkowski" else None
    ours, theirs = pair("NearestNeighbors", metric=metric, metric_params=w)
    ours.fit(sets[0])
    theirs.fit(sets[0])
    for method in ("kneighbors", "radius_neighbors"):
        assert_same_error(
            lambda m=method: getattr(ours, m)(bad), lambda m=method: getattr(theirs, m)(bad)
        )


@pytest.mark.parametrize("arguments", [(0,), (-1,), (301,), (2.0,), ("3",), (np.nan,)], ids=str)
def test_bad_numbers_of_neighbors(sets, arguments):
    X, queries, _ = sets
    ours, theirs = pair("NearestNeighbors")
    for Q in (queries, None):
        assert_same_error(
            lambda Q=Q: ours.fit(X).kneighbors(Q, *arguments),
            lambda Q=Q: theirs.fit(X).kneighbors(Q, *arguments),
        )
    assert ours.kneighbors(n_neighbors=299)[0].shape == (300, 299)
    assert_same_error(lambda: ours.kneighbors(None, 300), lambda: theirs.kneighbors(None, 300))


def test_sorting_needs_distances(sets):
    models = [model.fit(sets[0]) for model in pair("NearestNeighbors")]
    assert_same_error(
        *(lambda m=m: m.radius_neighbors(return_distance=False, sort_results=True) for m in models)
    )


@pytest.mark.parametrize("name", NAMES)
def test_not_fitted(name):
    ours, theirs = pair(name)
    for method in ("kneighbors", "radius_neighbors", "predict", "predict_proba", "transform"):
        if hasattr(ours, method):
            assert_same_error(
                lambda m=method: getattr(ours, m)([[1.0]]),
                lambda m=method: getattr(theirs, m)([[1.0]]),
            )


# ---- life ----------------------------------------------------------------------------------------


def test_pickle_clone_and_refit(sets):
    X, queries, y = sets
    for metric in ("l2", "cosine"):
        model = fastnn.neighbors.KNeighborsClassifier(metric=metric).fit(X, y)
        before = model.kneighbors(queries)
        copy = pickle.loads(pickle.dumps(model))
        for found in (copy.kneighbors(queries), clone(model).fit(X, y).kneighbors(queries)):
            np.testing.assert_array_equal(found, before)
        # What was kept for the old samples must not serve the new ones.
        model.fit(-X[:200], y[:200])
        expected = fastnn.kneighbors(queries, -X[:200], 5, metric)
        np.testing.assert_array_equal(model.kneighbors(queries), expected)
        model.set_params(metric="l1").fit(X, y)
        np.testing.assert_array_equal(
            model.kneighbors(queries), fastnn.kneighbors(queries, X, 5, "l1")
        )


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float16, bool, ">f8"])
def test_dtypes(rng, dtype):
    X = rng.integers(0, 2, (100, 20)).astype(dtype)
    model = fastnn.neighbors.NearestNeighbors(metric="l1").fit(X)
    expected = oracles.kneighbors(X[:9].astype(float), X.astype(float), 5, "l1")
    for queries in (X[:9], X[:9].astype(float), X[:9].tolist(), np.asfortranarray(X[:9])):
        found = model.kneighbors(queries)
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_queries_are_narrowed_where_that_is_exact(rng, monkeypatch, dtype):
    """A float64 query must not cost a copy of all samples, nor lose a digit."""
    X = rng.integers(0, 256, (100, 6)).astype(dtype)
    model = fastnn.neighbors.NearestNeighbors(metric="l1").fit(X)
    seen = []
    find = brute.find_neighbors

    def spy(queries, samples, *arguments):
        seen.append((queries.values.dtype, samples.rows.values is X))
        return find(queries, samples, *arguments)

    monkeypatch.setattr(brute, "find_neighbors", spy)
    for offset, narrow in ((0.0, True), (0.1, False), (-300.0, dtype != np.uint8)):
        queries = X[:9].astype(float) + offset
        found = model.kneighbors(queries)
        expected = oracles.kneighbors(queries, X, 5, "l1")
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])
        assert seen.pop() == ((np.dtype(dtype), True) if narrow else (np.dtype(float), False))


def test_integers_beyond_float64_are_left_to_scikit_learn(fallbacks):
    X = np.array([[2**60 + 1], [0], [5]])
    model = fastnn.neighbors.NearestNeighbors(n_neighbors=1, algorithm="brute").fit(X)
    assert model.kneighbors([[4]])[1] == 2
    assert "2**53" in fallbacks()[0]


def test_not_finite_although_nobody_was_to_check(sets):
    """With assume_finite scikit-learn does not look; no NaN may crash or be searched."""
    X, queries, _ = sets
    bad = X.copy()
    bad[17] = np.nan
    with sklearn.config_context(assume_finite=True):
        for metric in ("l2", "chebyshev", "cosine"):
            model = fastnn.neighbors.NearestNeighbors(metric=metric).fit(bad)
            clean = fastnn.neighbors.NearestNeighbors(metric=metric).fit(X)
            for size in (1, 40):
                with pytest.raises(ValueError, match="NaN at row 17"):
                    model.kneighbors(queries[:size])
                with pytest.raises(ValueError, match="NaN at row 0"):
                    clean.kneighbors(np.full((size, 8), np.nan))


def test_values_no_tile_can_hold(rng):
    X = data.make(data.overflowing, rng, 80, 6, np.float64)
    model = fastnn.neighbors.NearestNeighbors().fit(X)
    expected = oracles.kneighbors(X, X, 5, "l2")
    np.testing.assert_array_equal(model.kneighbors(X)[1], expected[1])
    found = model.radius_neighbors(X, np.inf, return_distance=False)
    assert all(row.size == 80 for row in found)


def test_data_frames_and_set_output(sets):
    X, _, y = sets
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    model = fastnn.neighbors.KNeighborsRegressor().fit(frame, y)
    assert list(model.feature_names_in_) == list("abcdefgh")
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        model.predict(X)
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame.rename(columns={"a": "z"}))


# ---- adapters ------------------------------------------------------------------------------------


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine", "chebyshev"])
def test_precomputed_knn(rng, metric):
    X = np.repeat(rng.standard_normal((50, 6)), 3, axis=0)
    for k in (1, 2, 9):
        indices, distances = fastnn.neighbors.precomputed_knn(X, k, metric)
        assert indices.shape == distances.shape == (150, k)
        np.testing.assert_array_equal(indices[:, 0], np.arange(150))
        assert (distances[:, 0] == 0.0).all()
        if k > 1:
            rest = fastnn.neighbors.precomputed_knn(X, k - 1, metric, include_self=False)
            np.testing.assert_array_equal(indices[:, 1:], rest[0])
            np.testing.assert_array_equal(distances[:, 1:], rest[1])
    assert (indices[:, 1:] != np.arange(150)[:, None]).all()
    assert fastnn.neighbors.precomputed_knn(X, 150, metric)[0].shape == (150, 150)


def test_precomputed_knn_refuses():
    for arguments, message in (
        ((np.ones((3, 1)), 4), "n_neighbors = 4, n_samples_fit = 3"),
        ((np.ones((3, 1)), 0), "Expected n_neighbors > 0"),
        (([[np.nan], [1.0]], 1), "NaN"),
        (([[np.nan], [1.0]], 2), "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            fastnn.neighbors.precomputed_knn(*arguments)
    with pytest.raises(ValueError, match="n_neighbors = 3, n_samples_fit = 2"):
        fastnn.neighbors.precomputed_knn(np.ones((3, 1)), 3, include_self=False)


# ---- what scikit-learn's own answers lack --------------------------------------------------------


@pytest.mark.parametrize("weights", ["uniform", "distance"])
@pytest.mark.parametrize("y", [[1, 2, 3, 4], [True, False, True, True], [[1, 2], [3, 4]] * 2])
def test_a_regressor_of_integers_has_nan_where_nobody_is_near(weights, y):
    """scikit-learn#12960."""
    X = np.array([[1], [2], [3], [4]])
    model = fastnn.neighbors.RadiusNeighborsRegressor(radius=1.0, weights=weights).fit(X, y)
    twin = clone(model).fit(X, np.array(y, float))
    with pytest.warns(UserWarning, match="no neighbors"):
        found = model.predict([[-100], [2]])
    with pytest.warns(UserWarning, match="no neighbors"):
        np.testing.assert_array_equal(found, twin.predict([[-100], [2]]))
    assert np.isnan(found[0]).all()
    assert model._y.dtype == np.array(y).dtype


@pytest.mark.filterwarnings("error")
def test_large_finite_values_are_fitted_in_silence():
    X = np.full((10, 3), 3e38, np.float32)
    X[5:] = 0.0
    model = fastnn.neighbors.KNeighborsClassifier(1).fit(X, np.arange(10) // 5)
    assert model.predict(X[[0, 9]]).tolist() == [0, 1]
    X[3, 1] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        model.fit(X, np.arange(10) // 5)


def test_all_names_of_scikit_learn_are_there():
    assert set(sklearn.neighbors.__all__) <= set(fastnn.neighbors.__all__)
    for name in set(sklearn.neighbors.__all__) - set(NAMES):
        ours, theirs = (getattr(module, name) for module in (fastnn.neighbors, sklearn.neighbors))
        assert ours is theirs or name in ("KDTree", "kneighbors_graph", "radius_neighbors_graph")


@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("make", [np.asarray, list])
def test_a_radius_for_each_query(rng, algorithm, make):
    """scikit-learn's trees take them, to which its "auto" comes for few features."""
    X = rng.random((60, 4))
    radii = make(sklearn.neighbors.NearestNeighbors().fit(X).kneighbors(n_neighbors=3)[0][:, -1])
    model = fastnn.neighbors.NearestNeighbors(algorithm=algorithm).fit(X)
    for queries in (X, X[::-1].copy()):
        distances, indices = model.radius_neighbors(queries, radius=radii)
        exact = oracles.distances(queries, X, "l2")
        for i, radius in enumerate(radii):
            expected = np.flatnonzero(exact[i] <= radius)
            np.testing.assert_array_equal(indices[i], expected)
            np.testing.assert_array_equal(distances[i], exact[i, expected])
    alone = model.radius_neighbors(X, radius=radii, return_distance=False)
    assert all(map(np.array_equal, alone, model.radius_neighbors(X, radius=radii)[1]))
    assert model.radius_neighbors_graph(X, radius=radii).nnz == sum(map(len, alone))


@pytest.mark.parametrize("radii", [np.ones(3), np.array([-1.0] * 10), np.full(10, np.nan), "1"])
def test_radii_that_fit_nothing(rng, radii):
    model = fastnn.neighbors.NearestNeighbors(algorithm="brute").fit(rng.random((10, 2)))
    with pytest.raises((TypeError, ValueError)):
        model.radius_neighbors(rng.random((10, 2)), radius=radii)


def test_a_refit_forgets_the_tree_by_name(rng):
    X, y = rng.random((2000, 3)), rng.integers(0, 3, 2000)
    model = fastnn.neighbors.KNeighborsClassifier(algorithm="kd_tree").fit(X, y)
    model.set_params(algorithm="auto", metric="sqeuclidean").fit(X, y)
    model.kneighbors(X)
    assert model.effective_algorithm_ == "kd_tree"
    assert "algorithm=" not in model.explain_algorithm()
    assert model._tree is None


@pytest.mark.parametrize(
    "parameters",
    [
        {"weights": np.ones(60)},
        {"p": [1, 2]},
        {"p": np.array(2)},
        {"metric": np.ones(2)},
        {"algorithm": np.ones(2)},
        {"n_neighbors": np.ones(2)},
    ],
)
def test_wrong_parameters_are_refused_in_scikit_learns_words(rng, parameters):
    X, y = rng.random((60, 3)), rng.integers(0, 3, 60)
    with pytest.raises(ValueError, match="parameter of KNeighborsClassifier must be"):
        fastnn.neighbors.KNeighborsClassifier(**parameters).fit(X, y)


def test_bytes_that_are_kept_beside_the_samples(rng):
    X = rng.random((3000, 3))
    model = fastnn.neighbors.NearestNeighbors(algorithm="kd_tree")
    with pytest.raises(sklearn.exceptions.NotFittedError):
        model.nbytes_  # noqa: B018
    assert model.fit(X).nbytes_ == 0
    model.kneighbors(X)
    assert X.nbytes < model.nbytes_ < 4 * X.nbytes
    assert pickle.loads(pickle.dumps(model)).nbytes_ == 0
    assert fastnn.neighbors.NearestNeighbors(metric="canberra").fit(X).nbytes_ == 0


@pytest.mark.parametrize("n_fits", [1, 2])
def test_what_is_prepared_goes_with_its_estimator(n_fits, rng):
    model = fastnn.neighbors.NearestNeighbors(algorithm="brute")
    for _ in range(n_fits):
        model.fit(rng.random((50, 4))).kneighbors(rng.random((50, 4)))
    key = id(model)
    assert key in preparation._prepared
    del model
    gc.collect()
    assert key not in preparation._prepared
