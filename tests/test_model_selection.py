"""Choosing k: everything equals scikit-learn's grid search, and the naive way."""

import pickle
import re
import warnings
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest
import sklearn.neighbors
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_blobs,
    make_classification,
    make_friedman1,
    make_moons,
)
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from fastnn import model_selection
from fastnn.model_selection import (
    Bootstrap,
    HoldoutTest,
    HoldoutWarning,
    KNeighborsClassifierCV,
    KNeighborsRegressorCV,
    train_val_test_split,
)
from fastnn.neighbors import KNeighborsClassifier, KNeighborsRegressor

BOTH = ["uniform", "distance"]
TIMES = re.compile(r"(mean|std)_(fit|score)_time")


def grid_search(search, base, cv, X, y, error_score="raise", **fit_parameters):
    """scikit-learn's search over the same candidates."""
    grid = {"n_neighbors": search.n_neighbors, "weights": search.weights, "metric": search.metric}
    grid = {
        name: [values] if isinstance(values, str) or callable(values) else values
        for name, values in grid.items()
    }
    theirs = GridSearchCV(base, grid, cv=cv, scoring=search.scoring, error_score=error_score)
    return theirs.fit(X, y, **fit_parameters)


def check_equal(ours, theirs, X):
    """Keys in the same order, values to the last bit; times are times."""
    assert list(ours.cv_results_) == list(theirs.cv_results_)
    for key, values in theirs.cv_results_.items():
        if TIMES.fullmatch(key):
            assert ours.cv_results_[key].shape == values.shape
            assert (ours.cv_results_[key] >= 0).all()
        elif key == "params":
            assert ours.cv_results_[key] == values
        else:
            assert type(ours.cv_results_[key]) is type(values)
            assert ours.cv_results_[key].dtype == values.dtype
            np.testing.assert_array_equal(ours.cv_results_[key], values, err_msg=key)
    assert ours.best_params_ == theirs.best_params_
    np.testing.assert_equal(ours.best_score_, theirs.best_score_)
    assert ours.best_index_ == theirs.best_index_
    assert ours.n_splits_ == theirs.n_splits_
    assert ours.n_features_in_ == theirs.n_features_in_
    assert type(ours.scorer_) is type(theirs.scorer_)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))


def make_grid_of_points(seed, n=150, n_classes=4):
    """Points of whole coordinates: ties between distances, duplicates, noise in the labels."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 4, (n, 3)).astype(float), rng.integers(0, n_classes, n)


def make_duplicates():
    X = np.repeat(np.random.default_rng(3).standard_normal((12, 5)), 10, axis=0)
    return X, np.random.default_rng(4).integers(0, 3, len(X))


def digits(n=600):
    X, y = load_digits(return_X_y=True)
    return X[:n], y[:n]


CLASSIFICATION = {
    "digits": digits,
    "digits as bytes": lambda: (digits()[0].astype(np.uint8), digits()[1]),
    "iris": lambda: load_iris(return_X_y=True),
    "wine": lambda: load_wine(return_X_y=True),
    "breast cancer": lambda: load_breast_cancer(return_X_y=True),
    "words": lambda: (load_wine().data, load_wine().target_names[load_wine().target]),
    "blobs in float32": lambda: (
        make_blobs(200, 20, centers=7, cluster_std=8.0, random_state=0)[0].astype(np.float32),
        make_blobs(200, 20, centers=7, cluster_std=8.0, random_state=0)[1],
    ),
    "rare classes": lambda: make_classification(
        300, weights=[0.9, 0.1], flip_y=0.2, random_state=0
    ),
    "moons": lambda: make_moons(200, noise=0.4, random_state=0),
    "whole coordinates": lambda: make_grid_of_points(0),
    "duplicates": make_duplicates,
    "lists": lambda: (load_iris().data.tolist(), load_iris().target.tolist()),
}
# Neither equal distances nor equal sums of weights, of which scikit-learn's choice varies.
WITHOUT_TIES = ["blobs in float32", "rare classes", "moons", "breast cancer"]


# ---- equal to scikit-learn's search --------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSIFICATION)
def test_equals_grid_search_on_data_sets(name):
    X, y = CLASSIFICATION[name]()
    ours = KNeighborsClassifierCV(range(1, 16), BOTH, ["l1", "l2", "chebyshev"]).fit(X, y)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), None, X, y), X)
    np.testing.assert_array_equal(ours.classes_, np.unique(y))


@pytest.mark.parametrize("name", WITHOUT_TIES)
def test_equals_grid_search_over_scikit_learns_classifier(name):
    X, y = CLASSIFICATION[name]()
    X = X.astype(np.float64)
    ours = KNeighborsClassifierCV(range(1, 16), BOTH, ["l1", "l2"]).fit(X, y)
    theirs = grid_search(ours, sklearn.neighbors.KNeighborsClassifier(), None, X, y)
    check_equal(ours, theirs, X)


REGRESSION = {
    "diabetes": lambda: load_diabetes(return_X_y=True),
    "friedman": lambda: make_friedman1(200, noise=1.0, random_state=0),
    "bytes": lambda: (digits(300)[0].astype(np.uint8), digits(300)[1].astype(float)),
    "whole coordinates": lambda: make_grid_of_points(1),
    "constant": lambda: (make_grid_of_points(2)[0], np.full(150, 0.1)),
    "two outputs": lambda: (
        load_diabetes().data,
        np.column_stack([load_diabetes().target, -load_diabetes().data[:, 0]]),
    ),
}


@pytest.mark.parametrize("name", REGRESSION)
def test_regression_equals_grid_search(name):
    X, y = REGRESSION[name]()
    ours = KNeighborsRegressorCV(range(1, 26), BOTH, ["l1", "l2"], cv=4).fit(X, y)
    check_equal(ours, grid_search(ours, KNeighborsRegressor(), 4, X, y), X)


@pytest.mark.parametrize("name", ["diabetes", "friedman"])
def test_regression_equals_grid_search_over_scikit_learns(name):
    """Distances differ by rounding, as scikit-learn's are from a matrix product."""
    X, y = REGRESSION[name]()
    ours = KNeighborsRegressorCV(range(1, 26), BOTH, ["l1", "l2"], cv=4).fit(X, y)
    theirs = grid_search(ours, sklearn.neighbors.KNeighborsRegressor(), 4, X, y)
    assert ours.best_params_ == theirs.best_params_
    for key in ("split0_test_score", "mean_test_score", "std_test_score"):
        np.testing.assert_allclose(ours.cv_results_[key], theirs.cv_results_[key], rtol=1e-12)


SPLITTERS = {
    "none": (None, None),
    "int": (3, 3),
    "folds": (KFold(4), KFold(4)),
    "shuffled folds": (
        StratifiedKFold(3, shuffle=True, random_state=1),
        StratifiedKFold(3, shuffle=True, random_state=1),
    ),
    # Training rows that do not ascend: ties go by their place among them.
    "shuffle": (ShuffleSplit(3, random_state=0), ShuffleSplit(3, random_state=0)),
    "repeated": (
        RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0),
        RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=0),
    ),
    "pairs": (
        [(np.arange(50, 150), np.arange(50)), (np.arange(100)[::-1], [149, 120, 120])],
        [(np.arange(50, 150), np.arange(50)), (np.arange(100)[::-1], [149, 120, 120])],
    ),
    "fraction": (0.25, StratifiedShuffleSplit(1, test_size=0.25, random_state=7)),
    "loo": ("loo", LeaveOneOut()),
    "leave-one-out": (LeaveOneOut(), LeaveOneOut()),
    "bootstrap": ("bootstrap", Bootstrap(4, random_state=7)),
    "resamples": (Bootstrap(3, random_state=5), Bootstrap(3, random_state=5)),
}


@pytest.mark.parametrize("name", SPLITTERS)
@pytest.mark.parametrize("data", ["whole coordinates", "duplicates"])
def test_equals_grid_search_with_splitters(name, data):
    X, y = CLASSIFICATION[data]()
    if name == "pairs" and data == "duplicates":
        X, y = np.vstack([X, X]), np.concatenate([y, y])
    cv, same = SPLITTERS[name]
    ours = KNeighborsClassifierCV(
        [1, 2, 5, 11], BOTH, ["l1", "l2"], cv=cv, n_resamples=4, random_state=7
    ).fit(X, y)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), same, X, y), X)


@pytest.mark.parametrize("cv", ["bootstrap", 0.3, 3])
def test_regression_with_splitters(cv):
    X, y = REGRESSION["whole coordinates"]()
    same = {
        "bootstrap": Bootstrap(4, random_state=7),
        0.3: ShuffleSplit(1, test_size=0.3, random_state=7),
    }.get(cv, cv)
    ours = KNeighborsRegressorCV([1, 2, 9, 40], BOTH, cv=cv, n_resamples=4, random_state=7).fit(
        X, y
    )
    check_equal(ours, grid_search(ours, KNeighborsRegressor(), same, X, y), X)


def test_groups():
    X, y = make_grid_of_points(5)
    groups = np.arange(len(X)) % 7
    ours = KNeighborsClassifierCV([1, 3], cv=GroupKFold(4)).fit(X, y, groups=groups)
    theirs = grid_search(ours, KNeighborsClassifier(), GroupKFold(4), X, y, groups=groups)
    check_equal(ours, theirs, X)


def heavy(distances):
    """Weights that depend on all of the neighbors."""
    return distances.max(axis=1, keepdims=True) - distances + 1.0


@pytest.mark.parametrize(
    "weights", ["uniform", "distance", None, heavy, ["distance", heavy, None, "uniform"]]
)
@pytest.mark.parametrize("cv", [3, "bootstrap"])
def test_weights(weights, cv):
    X, y = make_grid_of_points(6)
    ours = KNeighborsClassifierCV([1, 4, 9], weights, cv=cv, random_state=7).fit(X, y)
    same = Bootstrap(10, random_state=7) if cv == "bootstrap" else cv
    theirs = GridSearchCV(
        KNeighborsClassifier(),
        {
            "n_neighbors": [1, 4, 9],
            "weights": weights if isinstance(weights, list) else [weights],
            "metric": ["minkowski"],
        },
        cv=same,
    ).fit(X, y)
    check_equal(ours, theirs, X)


def test_distances_beyond_all_numbers():
    """All weights of a row may be zero: scikit-learn's vote decides."""
    X = np.array([[0.0], [1.5e308], [-1.5e308], [0.5], [1.4e308], [-1.4e308]] * 2)
    y = np.array([0, 1, 2, 0, 1, 2] * 2)
    ours = KNeighborsClassifierCV([1, 2, 5], BOTH, "l1", cv=KFold(6))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # overflow, in both
        ours.fit(X, y)
        theirs = grid_search(ours, KNeighborsClassifier(), KFold(6), X, y)
        check_equal(ours, theirs, X)


@pytest.mark.parametrize(
    "scoring",
    ["accuracy", "balanced_accuracy", "f1_macro", "neg_log_loss", "roc_auc_ovr", "top_k_accuracy"],
)
@pytest.mark.parametrize("cv", [3, "bootstrap"])
def test_scorers(scoring, cv):
    X, y = make_grid_of_points(8)
    ours = KNeighborsClassifierCV([3, 9], BOTH, scoring=scoring, cv=cv, random_state=1).fit(X, y)
    same = Bootstrap(10, random_state=1) if cv == "bootstrap" else cv
    theirs = grid_search(ours, KNeighborsClassifier(), same, X, y)
    check_equal(ours, theirs, X)
    assert ours.score(X, y) == theirs.score(X, y)


@pytest.mark.parametrize("cv", [3, "bootstrap", "loo"])
def test_functions_that_change_what_they_get(cv):
    def careless(distances):
        np.divide(1.0, 1.0 + distances, out=distances)
        return distances

    def careful(distances):
        return 1.0 / (1.0 + distances)

    def scorer(estimator, queries, truth):
        distances, indices = estimator.kneighbors(queries)
        score = estimator.score(queries, truth)
        distances[:], indices[:] = 0.0, 0
        return score

    X, y = make_grid_of_points(8)
    shared = {"cv": cv, "random_state": 0}
    ours = KNeighborsClassifierCV([3, 9], [careless, "distance"], **shared).fit(X, y)
    same = KNeighborsClassifierCV([3, 9], [careful, "distance"], **shared).fit(X, y)
    for candidates in (ours, ours.set_params(scoring=scorer).fit(X, y)):
        np.testing.assert_allclose(
            candidates.cv_results_["mean_test_score"], same.cv_results_["mean_test_score"]
        )


def test_estimators_that_scorers_get():
    X, y = make_grid_of_points(8)
    kept = []

    def scorer(estimator, queries, truth):
        kept.append(estimator)
        assert estimator.kneighbors(queries, 10)[1].shape == (len(queries), 10)
        assert estimator.kneighbors(n_neighbors=2)[1].shape == (estimator.n_samples_fit_, 2)
        assert clone(estimator).fit(X, y).score(queries, truth) > 0
        return estimator.score(queries, truth)

    search = KNeighborsClassifierCV([1, 3], "uniform", cv=2, scoring=scorer).fit(X, y)
    assert [estimator.n_neighbors for estimator in kept] == [1, 3, 1, 3]
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
@pytest.mark.parametrize("metric", ["l2", "canberra"])
def test_scores_that_fail(metric):
    """They are NaN, as in GridSearchCV, and the others count."""

    def weights(distances):
        if distances.shape[1] == 3:
            raise RuntimeError("not for three")
        return 1.0 + distances

    X, y = make_grid_of_points(8)
    ours = KNeighborsClassifierCV([1, 3, 5], [weights], metric, cv=KFold(3))
    with pytest.warns(UserWarning, match="not for three"):
        ours.fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = grid_search(ours, KNeighborsClassifier(), KFold(3), X, y, error_score=np.nan)
    check_equal(ours, theirs, X)
    assert np.isnan(ours.cv_results_["mean_test_score"][1])


def test_splitters_that_are_more_than_a_bootstrap():
    class Downward(Bootstrap):
        def _iter_indices(self, X, y=None, groups=None):
            for train, test in super()._iter_indices(X, y, groups):
                yield train[::-1], test

    X, y = make_grid_of_points(8)
    ours = KNeighborsClassifierCV([1, 4], BOTH, cv=Downward(4, random_state=0)).fit(X, y)
    theirs = grid_search(ours, KNeighborsClassifier(), Downward(4, random_state=0), X, y)
    check_equal(ours, theirs, X)


def test_scorers_that_are_functions():
    X, y = make_grid_of_points(9)
    seen = []

    def scorer(estimator, queries, truth):
        """Looks at other rows, too, which the lists do not hold."""
        seen.append((estimator.n_neighbors, estimator.n_samples_fit_))
        return accuracy_score(truth[:9], estimator.predict(queries[:9])) + estimator.score(
            queries, truth
        )

    ours = KNeighborsClassifierCV([2, 5], scoring=scorer, cv=3).fit(X, y)
    assert sorted(seen) == sorted([(2, 100), (5, 100)] * 6)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), 3, X, y), X)
    made = make_scorer(accuracy_score, normalize=False)
    ours = KNeighborsClassifierCV([2, 5], scoring=made, cv=3).fit(X, y)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), 3, X, y), X)


@pytest.mark.parametrize("scoring", ["neg_mean_absolute_error", "explained_variance", "r2"])
def test_scorers_of_regression(scoring):
    X, y = REGRESSION["friedman"]()
    ours = KNeighborsRegressorCV([3, 9], scoring=scoring, cv=3).fit(X, y)
    check_equal(ours, grid_search(ours, KNeighborsRegressor(), 3, X, y), X)


def test_scores_that_are_not_finite():
    X, y = make_grid_of_points(10)

    def scorer(estimator, queries, truth):
        return np.nan if estimator.n_neighbors == 1 else 0.5

    with pytest.warns(UserWarning, match="scores are non-finite"):
        ours = KNeighborsClassifierCV([1, 2, 3], "uniform", scoring=scorer, cv=3).fit(X, y)
    assert ours.best_params_["n_neighbors"] == 2
    assert ours.cv_results_["rank_test_score"].tolist() == [3, 1, 1]
    with pytest.warns(UserWarning, match="scores are non-finite"):
        theirs = grid_search(ours, KNeighborsClassifier(), 3, X, y)
    check_equal(ours, theirs, X)
    with pytest.warns(UserWarning, match="scores are non-finite"):
        nothing = KNeighborsClassifierCV([1], scoring=scorer, cv=3).fit(X, y)
    assert nothing.cv_results_["rank_test_score"].tolist() == [1, 1]


@pytest.mark.parametrize("cv", [3, "loo", "bootstrap"])
@pytest.mark.parametrize("metric", [["cosine", "l1", "canberra"], "braycurtis", ["minkowski"]])
def test_metrics_served_and_not(metric, cv):
    X, y = make_grid_of_points(11, n=60)
    X[0] += 0.5  # no row of zeros
    ours = KNeighborsClassifierCV([1, 3, 8], metric=metric, cv=cv, random_state=3).fit(X, y)
    same = {"bootstrap": Bootstrap(10, random_state=3), "loo": LeaveOneOut()}.get(cv, cv)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), same, X, y), X)


def test_metrics_that_are_functions():
    X, y = make_grid_of_points(12, n=40)

    def metric(a, b):
        return np.abs(a - b).sum()

    ours = KNeighborsClassifierCV([1, 3], metric=["l1", metric], cv=2).fit(X, y)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), 2, X, y), X)


def test_precomputed_distances():
    X, y = make_grid_of_points(13, n=60)
    distances = np.abs(X[:, None] - X).sum(axis=2)
    ours = KNeighborsClassifierCV([1, 3], metric="precomputed", cv=3).fit(distances, y)
    theirs = GridSearchCV(
        KNeighborsClassifier(metric="precomputed"),
        {"metric": ["precomputed"], "n_neighbors": [1, 3], "weights": ("uniform", "distance")},
        cv=3,
    ).fit(distances, y)
    check_equal(ours, theirs, distances)


def test_sparse_input():
    X, y = make_grid_of_points(14)
    ours = KNeighborsClassifierCV([1, 3], metric="l2", cv=3).fit(csr_array(X), y)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), 3, csr_array(X), y), csr_array(X))


def test_data_frames_and_their_names():
    X = pd.DataFrame(make_grid_of_points(15)[0], columns=["a", "b", "c"])
    y = pd.Series(np.array(["p", "q", "r", "s"])[make_grid_of_points(15)[1]], index=X.index[::-1])
    for scoring in ("accuracy", "f1_macro"):
        ours = KNeighborsClassifierCV([1, 3], scoring=scoring, cv=3).fit(X, y)
        check_equal(ours, grid_search(ours, KNeighborsClassifier(), 3, X, y), X)
        assert ours.feature_names_in_.tolist() == ["a", "b", "c"]


def test_several_labels():
    X, y = make_grid_of_points(16)
    labels = np.column_stack([y % 2, y // 2])
    ours = KNeighborsClassifierCV([1, 4], cv=KFold(3)).fit(X, labels)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), KFold(3), X, labels), X)


@settings(max_examples=60)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_equals_grid_search_on_anything(data, seed):
    rng = np.random.default_rng(seed)
    n = data.draw(st.integers(4, 40))
    X = rng.integers(0, data.draw(st.integers(1, 4)), (n, data.draw(st.integers(1, 3))))
    X = X.astype(data.draw(st.sampled_from([np.uint8, np.float32, np.float64])))
    y = rng.integers(0, data.draw(st.integers(1, 5)), n)
    cv = data.draw(st.sampled_from(["folds", "loo", "bootstrap", "shuffle"]))
    ours, theirs, largest = {
        "folds": (KFold(3), KFold(3), n - -(-n // 3)),
        "loo": ("loo", LeaveOneOut(), n - 1),
        "bootstrap": ("bootstrap", Bootstrap(3, random_state=seed), n),
        "shuffle": (
            ShuffleSplit(2, random_state=seed),
            ShuffleSplit(2, random_state=seed),
            n - max(1, -(-n // 10)),
        ),
    }[cv]
    numbers = data.draw(st.lists(st.integers(1, largest), min_size=1, max_size=5))
    metric = data.draw(st.sampled_from(["l1", "l2", "chebyshev", "sqeuclidean"]))
    search = KNeighborsClassifierCV(
        numbers, BOTH, metric, cv=ours, n_resamples=3, random_state=seed
    ).fit(X, y)
    check_equal(search, grid_search(search, KNeighborsClassifier(), theirs, X, y), X)


# ---- leave-one-out -------------------------------------------------------------------------------


def test_leave_one_out_among_many_duplicates():
    """A row may be crowded out of its own list by duplicates with smaller indices."""
    X = np.zeros((30, 2))
    y = np.arange(30) % 3
    ours = KNeighborsClassifierCV([1, 2, 5], "uniform", cv="loo").fit(X, y)
    expected = np.empty((3, 30))
    for i in range(30):
        others = np.delete(y, i)
        for j, k in enumerate([1, 2, 5]):
            expected[j, i] = np.bincount(others[:k]).argmax() == y[i]
    np.testing.assert_array_equal(ours.cv_results_["mean_test_score"], expected.mean(axis=1))
    for i in range(30):
        np.testing.assert_array_equal(ours.cv_results_[f"split{i}_test_score"], expected[:, i])


@pytest.mark.parametrize("metric", ["l2", "canberra"])
@pytest.mark.parametrize("scoring", [None, "neg_mean_absolute_error"])
def test_scores_of_all_samples_together(scoring, metric):
    X, y = REGRESSION["friedman"]()
    ours = KNeighborsRegressorCV([1, 7], metric=metric, cv="loo", scoring=scoring).fit(X, y)
    assert ours.n_splits_ == 1
    for i, candidate in enumerate(ours.cv_results_["params"]):
        predictions = np.empty_like(y)
        for row in range(len(X)):
            model = KNeighborsRegressor(**candidate)
            model.fit(np.delete(X, row, axis=0), np.delete(y, row))
            predictions[row] = model.predict(X[row : row + 1])[0]
        expected = (
            sklearn.metrics.r2_score(y, predictions)
            if scoring is None
            else -np.abs(y - predictions).mean()
        )
        assert ours.cv_results_["mean_test_score"][i] == pytest.approx(expected, rel=1e-14)


def test_leave_one_out_of_other_scorers_of_classes():
    X, y = make_grid_of_points(17, n=50)
    ours = KNeighborsClassifierCV([3], "uniform", cv="loo", scoring="f1_macro").fit(X, y)
    predictions = [
        KNeighborsClassifier(3).fit(np.delete(X, i, 0), np.delete(y, i)).predict(X[i : i + 1])[0]
        for i in range(50)
    ]
    expected = sklearn.metrics.f1_score(y, predictions, average="macro")
    assert ours.cv_results_["split0_test_score"].tolist() == [expected]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.UndefinedMetricWarning")
def test_leave_one_out_splitter_with_r2_is_what_grid_search_makes_of_it():
    X, y = make_grid_of_points(18, n=12)
    ours = KNeighborsRegressorCV([1, 2], cv=LeaveOneOut())
    with pytest.warns(UserWarning, match="non-finite"):
        ours.fit(X, y)
    with pytest.warns(UserWarning, match="non-finite"):
        theirs = grid_search(ours, KNeighborsRegressor(), LeaveOneOut(), X, y)
    check_equal(ours, theirs, X)
    assert issubclass(UndefinedMetricWarning, UserWarning)


# ---- bootstrap -----------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 10, 59, 60])
def test_bootstrap_equals_fits_on_the_resamples(k):
    """Long lists of neighbors, too, which have to be extended."""
    X, y = make_grid_of_points(19, n=60)
    ours = KNeighborsClassifierCV([k], BOTH, cv="bootstrap", n_resamples=5, random_state=0)
    ours.fit(X, y)
    random_state = np.random.RandomState(0)
    for split in range(5):
        drawn = np.sort(random_state.randint(0, 60, 60))
        left_out = np.setdiff1d(np.arange(60), drawn)
        for w, weights in enumerate(BOTH):
            model = KNeighborsClassifier(k, weights=weights).fit(X[drawn], y[drawn])
            score = model.score(X[left_out], y[left_out])
            assert ours.cv_results_[f"split{split}_test_score"][w] == score


def test_lists_that_are_too_short_are_extended(monkeypatch):
    """Rows near an outlier that was drawn rarely need longer lists than most."""
    X, y = make_grid_of_points(20, n=300)
    searches = []

    class Recorded(model_selection.Searcher):
        def kneighbors(self, X, k, *others):
            searches.append((len(X), k))
            return super().kneighbors(X, k, *others)

    monkeypatch.setattr(model_selection, "Searcher", Recorded)
    monkeypatch.setattr(model_selection, "spare_neighbors", lambda k: 0)
    ours = KNeighborsClassifierCV([20], BOTH, cv="bootstrap", random_state=0).fit(X, y)
    assert searches[0] == (300, 20)
    assert {k for _, k in searches[1:]} == {40}
    assert all(n < 110 for n, _ in searches[1:])
    same = Bootstrap(10, random_state=0)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), same, X, y), X)


def test_bootstrap_splitter():
    X = np.zeros((50, 1))
    splits = list(Bootstrap(20, random_state=1).split(X))
    assert Bootstrap(20).get_n_splits(X) == len(splits) == 20
    for train, test in splits:
        assert len(train) == 50
        assert (np.diff(train) >= 0).all()
        np.testing.assert_array_equal(np.setdiff1d(np.arange(50), train), test)
    again = list(Bootstrap(20, random_state=1).split(X))
    assert all((a[0] == b[0]).all() for a, b in zip(splits, again, strict=True))
    assert "Bootstrap(n_splits=20" in repr(Bootstrap(20))
    assert all(len(test) == 1 for _, test in Bootstrap(30, random_state=0).split(X[:2]))
    assert len(cross_val_score(KNeighborsClassifier(1), *digits(60), cv=Bootstrap(3))) == 3
    with pytest.raises(ValueError, match="at least 2 samples, got n_samples = 1"):
        next(Bootstrap().split(X[:1]))


# ---- the estimators ------------------------------------------------------------------------------


@parametrize_with_checks(
    [KNeighborsClassifierCV((1, 3), cv=3), KNeighborsRegressorCV((1, 3), cv=3)]
)
@pytest.mark.filterwarnings("ignore")  # theirs, about what the checks feed them
def test_scikit_learn_contract(estimator, check):
    """Nothing is expected to fail."""
    check(estimator)


def test_kinds_of_estimators():
    assert is_classifier(KNeighborsClassifierCV())
    assert is_regressor(KNeighborsRegressorCV())


def test_methods_are_those_of_the_best_estimator():
    X, y = digits(400)
    search = KNeighborsClassifierCV(range(1, 8), cv=3, n_jobs=1).fit(X[:300], y[:300])
    best = KNeighborsClassifier(**search.best_params_, n_jobs=1).fit(X[:300], y[:300])
    assert repr(search.best_estimator_) == repr(best)
    np.testing.assert_array_equal(search.predict(X[300:]), best.predict(X[300:]))
    np.testing.assert_array_equal(search.predict_proba(X[300:]), best.predict_proba(X[300:]))
    assert search.score(X[300:], y[300:]) == best.score(X[300:], y[300:])
    assert search.refit_time_ > 0
    assert not hasattr(KNeighborsRegressorCV(), "predict_proba")


def test_without_refit():
    X, y = digits(200)
    search = KNeighborsClassifierCV([1, 3], cv=3, refit=False).fit(X, y)
    assert set(search.best_params_) == {"metric", "n_neighbors", "weights"}
    assert not hasattr(search, "best_estimator_")
    assert not hasattr(search, "predict")


def test_clone_pickle_pipeline_and_nesting():
    X, y = digits(300)
    search = KNeighborsClassifierCV(range(1, 6), metric=["l1", "l2"], cv=3)
    assert clone(search).get_params() == search.get_params()
    fitted = pickle.loads(pickle.dumps(search.fit(X, y)))
    np.testing.assert_array_equal(fitted.predict(X), search.predict(X))
    piped = make_pipeline(StandardScaler(), clone(search)).fit(X, y)
    assert piped.score(X, y) > 0.9
    assert cross_val_score(search, X, y, cv=3).min() > 0.8
    assert "KNeighborsClassifier" in search._repr_html_()
    search.get_metadata_routing()


def test_default_numbers_of_neighbors():
    X, y = digits(200)
    search = KNeighborsClassifierCV("" or None, "uniform", cv=4).fit(X, y)
    assert [c["n_neighbors"] for c in search.cv_results_["params"]] == list(range(1, 31))
    few = KNeighborsClassifierCV(cv=KFold(4), weights="uniform").fit(X[:8], y[:8])
    assert [c["n_neighbors"] for c in few.cv_results_["params"]] == list(range(1, 7))


def test_one_number_and_numbers_of_any_kind():
    X, y = digits(200)
    for numbers, expected in [(3, [3]), (np.arange(1, 4), [1, 2, 3]), ((5, 1, 5), [5, 1, 5])]:
        search = KNeighborsClassifierCV(numbers, "uniform", cv=3).fit(X, y)
        assert [c["n_neighbors"] for c in search.cv_results_["params"]] == expected


@pytest.mark.parametrize("n_jobs", [1, 2, 3])
def test_threads(n_jobs):
    X, y = CLASSIFICATION["whole coordinates"]()
    expected = KNeighborsClassifierCV(cv="bootstrap", random_state=0, n_jobs=1).fit(X, y)
    found = KNeighborsClassifierCV(cv="bootstrap", random_state=0, n_jobs=n_jobs).fit(X, y)
    for key in ("mean_test_score", "std_test_score", "rank_test_score"):
        np.testing.assert_array_equal(found.cv_results_[key], expected.cv_results_[key])


def test_instruction_sets(isa):
    X, y = digits(200)
    ours = KNeighborsClassifierCV([1, 3, 9], metric=["l1", "l2"], cv=3).fit(X, y)
    check_equal(ours, grid_search(ours, KNeighborsClassifier(), 3, X, y), X)


@pytest.mark.parametrize("cv", [3, "loo", "bootstrap"])
def test_progress_bar(capsys, cv):
    X, y = digits(100)
    KNeighborsClassifierCV([1, 3], metric=["l1", "canberra"], cv=cv, verbose=1).fit(X, y)
    assert "100%" in capsys.readouterr().err
    KNeighborsClassifierCV([1, 3], cv=cv).fit(X, y)
    assert capsys.readouterr().err == ""


# ---- training sets that are smaller than a number of neighbors -----------------------------------


@pytest.mark.parametrize("scoring", [None, "f1_macro"])
@pytest.mark.filterwarnings("ignore:Scoring failed", "ignore:One or more of the test scores")
def test_numbers_that_a_fold_cannot_have(scoring):
    """As in GridSearchCV: no score, and the choice is among the rest."""
    X, y = digits(30)
    y, cv = np.arange(30) % 2, KFold(3)
    numbers = [25, 1, 20, 21]
    search = KNeighborsClassifierCV(numbers, "uniform", cv=cv, scoring=scoring)
    with pytest.warns(UserWarning, match="n_neighbors from 21 on are more than 20, the training"):
        search.fit(X, y)
    grid = GridSearchCV(KNeighborsClassifier(), {"n_neighbors": numbers}, cv=cv, scoring=scoring)
    grid.fit(X, y)
    for key in [*(f"split{i}_test_score" for i in range(3)), "mean_test_score", "rank_test_score"]:
        np.testing.assert_array_equal(search.cv_results_[key], grid.cv_results_[key])
    assert np.isnan(search.cv_results_["mean_test_score"]).tolist() == [True, False, False, True]
    assert search.best_params_["n_neighbors"] == grid.best_params_["n_neighbors"]


@pytest.mark.filterwarnings("ignore:One or more of the test scores")
def test_numbers_that_leaving_one_out_and_uneven_folds_cannot_have():
    X, y = digits(30)
    for cv, numbers in [("loo", [1, 29, 30]), ("bootstrap", [1, 30, 31])]:
        search = KNeighborsClassifierCV(numbers, "uniform", cv=cv)
        with pytest.warns(UserWarning, match="their scores are NaN"):
            search.fit(X, y)
        missing = np.isnan(search.cv_results_["mean_test_score"])
        assert missing.tolist() == [False, False, True]
    folds = [(np.arange(20), np.arange(20, 30)), (np.arange(9), np.arange(9, 30))]
    with pytest.warns(UserWarning, match="more than 9, the training samples of split 1"):
        search = KNeighborsClassifierCV([2, 10], "uniform", cv=folds).fit(X, y)
    assert np.isnan(search.cv_results_["split1_test_score"]).tolist() == [False, True]
    assert np.isfinite(search.cv_results_["split0_test_score"]).all()


# ---- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_neighbors": [67, 68]}, "at most 66, the training samples of split 0, got 67"),
        ({"n_neighbors": 100, "cv": "loo"}, "at most 99, the samples but one, got 100"),
        ({"n_neighbors": [101], "cv": "bootstrap"}, "at most 100, the training samples of split 0"),
        ({"n_neighbors": [0, 1]}, "n_neighbors must be at least 1, got 0"),
        ({"n_neighbors": []}, "n_neighbors must have at least one value"),
        ({"weights": []}, "weights must have at least one value"),
        ({"weights": ["uniform", "wrong"]}, "'weights' parameter of KNeighborsClassifier must be"),
        ({"weights": "wrong"}, "'weights' parameter of KNeighborsClassifierCV must be"),
        ({"metric": []}, "metric must have at least one value"),
        ({"metric": ["l1", "wrong"]}, "'metric' parameter of KNeighborsClassifier must be"),
        ({"metric": 3}, "'metric' parameter of KNeighborsClassifierCV must be"),
        ({"cv": "wrong"}, "'cv' parameter of KNeighborsClassifierCV must be"),
        ({"cv": 1.5}, "'cv' parameter of KNeighborsClassifierCV must be"),
        ({"cv": 1}, "must be an int in the range [2, inf)"),
        ({"cv": []}, "cv must give at least one split"),
        ({"scoring": "wrong"}, "'scoring' parameter of KNeighborsClassifierCV must be"),
        ({"scoring": ["accuracy"]}, "'scoring' parameter of KNeighborsClassifierCV must be"),
        ({"n_resamples": 0}, "'n_resamples' parameter"),
        ({"refit": "accuracy"}, "'refit' parameter"),
        ({"n_jobs": 0}, "n_jobs"),
    ],
)
def test_wrong_parameters(parameters, message):
    X, y = digits(100)
    with pytest.raises(ValueError, match=re.escape(message)):
        KNeighborsClassifierCV(**{"cv": 3, "n_neighbors": [1], **parameters}).fit(X, y)


def test_numbers_of_neighbors_that_are_none():
    with pytest.raises(TypeError, match="n_neighbors must be an integer, got float"):
        KNeighborsClassifierCV([1.5], cv=3).fit(*digits(100))


def test_wrong_data():
    X, y = digits(100)
    with pytest.raises(TypeError, match=r"y must be dense, got a sparse csr_array; use toarray"):
        KNeighborsClassifierCV([1]).fit(X, csr_array(np.c_[y, y] > 4))
    for search in (KNeighborsClassifierCV([1]), KNeighborsRegressorCV([1])):
        with pytest.raises(ValueError, match="inconsistent numbers of samples"):
            search.fit(X, y[1:])
        with pytest.raises(ValueError, match="NaN"):
            search.fit(np.where(X > 15, np.nan, X), y)
        with pytest.raises(ValueError, match="1D array"):
            search.fit(X[:, 0], y)


def test_fit_leaves_parameters_alone():
    X, y = digits(100)
    numbers, weights, metric = [3, 1], ["distance"], ["l2", "l1"]
    search = KNeighborsClassifierCV(numbers, weights, metric, cv=3).fit(X, y)
    assert (search.n_neighbors, search.weights, search.metric) == (numbers, weights, metric)
    assert (numbers, weights, metric) == ([3, 1], ["distance"], ["l2", "l1"])


# ---- splits --------------------------------------------------------------------------------------


def test_three_sets():
    X, y = load_digits(return_X_y=True)
    parts = train_val_test_split(X, y)
    X_train, X_val, X_test, y_train, y_val, y_test = parts
    assert (len(X_train), len(X_val), len(X_test)) == (437, 1000, 360)
    assert sorted(map(tuple, np.vstack(parts[:3]))) == sorted(map(tuple, X))
    for part, labels in [(X_train, y_train), (X_val, y_val), (X_test, y_test)]:
        rows = [np.flatnonzero((row == X).all(axis=1))[0] for row in part[:20]]
        np.testing.assert_array_equal(y[rows], labels[:20])
        shares = np.bincount(labels) / len(labels)
        np.testing.assert_allclose(shares, np.bincount(y) / len(y), atol=0.005)
    again = train_val_test_split(X, y)
    other = train_val_test_split(X, y, random_state=1)
    np.testing.assert_array_equal(again[2], X_test)
    assert not np.array_equal(other[2], X_test)


@pytest.mark.parametrize(
    ("val_size", "test_size", "expected"),
    [(10, 20, (70, 10, 20)), (0.1, 0.25, (65, 10, 25)), (0.101, 30, (59, 11, 30))],
)
def test_sizes(val_size, test_size, expected):
    X, y = digits(100)
    parts = train_val_test_split(X, y, val_size=val_size, test_size=test_size)
    assert tuple(map(len, parts[:3])) == tuple(map(len, parts[3:])) == expected


def test_split_without_classes_and_of_data_frames():
    X = pd.DataFrame({"a": np.arange(50.0)})
    y = X["a"] * 2
    parts = train_val_test_split(X, y, val_size=10, test_size=10, stratify=False)
    assert [type(part) for part in parts] == [pd.DataFrame] * 3 + [pd.Series] * 3
    for part, target in zip(parts[:3], parts[3:], strict=True):
        np.testing.assert_array_equal(part["a"] * 2, target)


@pytest.mark.parametrize("dtype", ["object", "category"])
def test_split_by_columns_of_strings(dtype):
    X, _ = digits(60)
    y = pd.DataFrame({"size": ["small", "large", "large"] * 20, "color": ["red", "blue"] * 30})
    parts = train_val_test_split(X, y.astype(dtype), val_size=12, test_size=12)
    for part in parts[3:]:
        assert part.value_counts().to_dict() == {
            ("large", "blue"): len(part) // 3,
            ("large", "red"): len(part) // 3,
            ("small", "blue"): len(part) // 6,
            ("small", "red"): len(part) // 6,
        }
    y.loc[0] = "small", "green"
    with pytest.raises(ValueError, match=r"got 1 of class .'small' 'green'."):
        train_val_test_split(X, y.astype(dtype), val_size=12)


def test_split_by_other_labels_and_in_order():
    X, y = digits(90)
    groups = np.arange(90) % 3
    parts = train_val_test_split(X, groups, val_size=30, test_size=30, stratify=groups)
    assert [np.bincount(part).tolist() for part in parts[3:]] == [[10, 10, 10]] * 3
    for left, right in zip(
        train_val_test_split(X, y, val_size=20, test_size=10),
        train_val_test_split(X, y, val_size=20, test_size=10, stratify=y),
        strict=True,
    ):
        np.testing.assert_array_equal(left, right)
    parts = train_val_test_split(X, y, val_size=20, test_size=10, stratify=None, shuffle=False)
    np.testing.assert_array_equal(np.concatenate(parts[:3]), X)
    assert tuple(map(len, parts[:3])) == (60, 20, 10)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 10), "val_size must be an integer from 1 to 99 or a fraction"),
        ((10, 0.0), "test_size must be an integer from 1 to 99 or a fraction"),
        ((10, 100), "test_size must be"),
        ((1.0, 10), "val_size must be"),
        ((-0.5, 10), "val_size must be"),
        ((50, 50), "must leave samples to train on, got 50 and 50 of 100"),
        ((0.5, 0.6), "must leave samples to train on, got 50 and 60 of 100"),
        ((5, 10), "val set must hold at least 10 samples, one of each class, got val_size = 5"),
        ((10, 5), "test set must hold at least 10 samples, one of each class, got test_size = 5"),
        ((40, 55), "train set must hold at least 10 samples, one of each class, got train_size"),
    ],
)
def test_wrong_sizes(sizes, message):
    with pytest.raises(ValueError, match=message):
        train_val_test_split(*digits(100), val_size=sizes[0], test_size=sizes[1])


def test_wrong_things_to_split():
    X, y = digits(100)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        train_val_test_split(X, y[1:], val_size=10)
    for size in ("10", None, True):
        with pytest.raises(TypeError, match="val_size must be a number"):
            train_val_test_split(X, y, val_size=size)
    with pytest.raises(TypeError, match="y must be array-like, got None"):
        train_val_test_split(X, None, val_size=10)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        train_val_test_split(X, y, val_size=10, stratify=y[1:])
    with pytest.raises(ValueError, match="stratify must be False or None with shuffle=False"):
        train_val_test_split(X, y, val_size=10, shuffle=False)
    for n in (0, 2):
        with pytest.raises(ValueError, match=rf"X must hold at least 3 samples, .* got {n}"):
            train_val_test_split(X[:n], y[:n], val_size=1)
    with pytest.raises(ValueError, match=r"at least 3 members of each class, .* got 1 of class 99"):
        train_val_test_split(X, np.r_[y[:-1], 99], val_size=20)
    labels = np.repeat(["rare", "often"], [3, 97])
    with pytest.raises(ValueError, match=r"too few of class rare: the .* set would have none"):
        train_val_test_split(X, labels, val_size=10)
    two = np.c_[labels, labels]
    assert len(train_val_test_split(X, np.c_[y % 2, y % 3], val_size=0.3, test_size=0.3)) == 6
    with pytest.raises(ValueError, match="too few of class"):
        train_val_test_split(X, two, val_size=10)


# ---- the test set --------------------------------------------------------------------------------


def test_the_test_set_is_scored_once():
    X, y = digits(300)
    model = KNeighborsClassifier(1).fit(X[:200], y[:200])
    test = HoldoutTest(X[200:], y[200:])
    assert not hasattr(test, "first_score_")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = test.score(model)
    assert first == model.score(X[200:], y[200:]) == test.first_score_
    age = datetime.now().astimezone() - test.first_time_
    assert timedelta(0) <= age < timedelta(minutes=5)
    time = test.first_time_
    other = KNeighborsClassifier(50).fit(X[:200], y[:200])
    with pytest.warns(HoldoutWarning, match=f"{first:.6g} on {time:%Y-%m-%d at %H:%M:%S}") as found:
        second = test.score(other)
    assert found[0].filename == __file__
    assert second == other.score(X[200:], y[200:]) != first
    assert (test.first_score_, test.first_time_, test.n_scores_) == (first, time, 2)


def test_holdout_with_a_scorer_and_a_score_that_fails():
    X, y = digits(100)
    test = HoldoutTest(X, y, scoring="balanced_accuracy")
    with pytest.raises(sklearn.exceptions.NotFittedError):
        test.score(KNeighborsClassifier())
    assert not hasattr(test, "n_scores_")
    assert test.score(KNeighborsClassifier(1).fit(X, y)) == 1.0
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        HoldoutTest(X, y[1:])


def test_holdout_with_several_scores():
    X, y = digits(100)
    for scoring in (["accuracy"], {"a": "accuracy"}, 3):
        with pytest.raises(TypeError, match="scoring must be a string, a callable or None, got"):
            HoldoutTest(X, y, scoring=scoring)
    test = HoldoutTest(X, y, scoring=lambda *_: {"a": 1.0})
    with pytest.raises(TypeError, match="scoring must return a number, got dict"):
        test.score(KNeighborsClassifier(1).fit(X, y))
    assert not hasattr(test, "n_scores_")
