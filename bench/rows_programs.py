"""Rows on programs that build on neighbors and distances: as they are, and under fastnn.accel.

Those that gain nothing are here, too. Times are those of the whole call. Data are digits, so that
they are the same everywhere and have the structure that people's data have.
"""

from functools import lru_cache

import numpy as np
import sklearn.cluster
import sklearn.datasets
import sklearn.ensemble
import sklearn.impute
import sklearn.manifold
import sklearn.metrics
import sklearn.model_selection
import sklearn.neighbors
import sklearn.semi_supervised

import fastnn
from contest import N_THREADS, Row
from fastnn.model_selection import KNeighborsClassifierCV


@lru_cache
def digits(n):
    """Return n digits of 64 pixels, with noise so that none is there twice, and their classes."""
    X, y = sklearn.datasets.load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(X), n)
    return (X[rows] + rng.standard_normal((n, X.shape[1]))).astype(np.float32), y[rows]


@lru_cache
def imbalanced(n):
    """Return digits of two classes, of which 7, 8 and 9 are the smaller one."""
    X, y = digits(n)
    return X, (y >= 7).astype(int)


def program_row(name, program, same=np.testing.assert_array_equal, instead=None):
    """A program as it is, and under accel, or what stands `instead` of it."""

    def accelerated():
        with fastnn.accel.enabled():
            return program()

    ours = instead or accelerated

    def check():
        same(ours(), program())

    return Row(name, 1.0, {"fastnn": ours, "unchanged": program}, (), check, most_turns=3)


def in_shape(found, expected):
    """Compare the shapes alone of what chance or rounding decides, such as embeddings."""
    assert np.shape(found) == np.shape(expected)


def nearly(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def smote_row():
    from imblearn.over_sampling import SMOTE

    X, y = imbalanced(40_000)
    return program_row(
        "imblearn SMOTE, 40,000 x 64", lambda: SMOTE(random_state=0).fit_resample(X, y)[1]
    )


def edited_row():
    from imblearn.under_sampling import EditedNearestNeighbours

    X, y = imbalanced(20_000)
    return program_row(
        "imblearn EditedNearestNeighbours, 20,000 x 64",
        lambda: EditedNearestNeighbours(n_jobs=N_THREADS).fit_resample(X, y)[1],
    )


def lof_row():
    X, _ = digits(20_000)
    return program_row(
        "LocalOutlierFactor, 20,000 x 64",
        lambda: sklearn.neighbors.LocalOutlierFactor(n_jobs=N_THREADS).fit_predict(X),
    )


def dbscan_row():
    X = np.random.default_rng(0).random((200_000, 2))
    return program_row(
        "DBSCAN, 200,000 x 2",
        lambda: sklearn.cluster.DBSCAN(eps=0.006, min_samples=10, n_jobs=N_THREADS).fit_predict(X),
    )


def grid(X, y):
    model = sklearn.neighbors.KNeighborsClassifier(n_jobs=N_THREADS)
    values = {"n_neighbors": list(range(1, 21)), "weights": ["uniform", "distance"]}
    search = sklearn.model_selection.GridSearchCV(model, values, cv=5, refit=False)
    return search.fit(X, y).cv_results_["mean_test_score"]


def grid_row():
    X, y = digits(5000)
    return program_row(
        "GridSearchCV over 20 k and 2 weightings, 5,000 x 64", lambda: grid(X, y), nearly
    )


def selection_row():
    X, y = digits(5000)

    def ours():
        search = KNeighborsClassifierCV(range(1, 21), ["uniform", "distance"], "l2", refit=False)
        return search.fit(X, y).cv_results_["mean_test_score"]

    return program_row(
        "KNeighborsClassifierCV, 20 k and 2 weightings, 5,000 x 64",
        lambda: grid(X, y),
        lambda found, expected: nearly(np.sort(found), np.sort(expected)),
        ours,
    )


def spreading_row():
    X, y = digits(10_000)
    y = np.where(np.arange(len(y)) % 10, -1, y)

    def program():
        model = sklearn.semi_supervised.LabelSpreading(kernel="knn", n_jobs=N_THREADS)
        return model.fit(X, y).transduction_

    return program_row("LabelSpreading of neighbors, 10,000 x 64", program)


def imputer_row():
    X, _ = digits(5000)
    X = X.astype(np.float64)
    X[np.random.default_rng(0).random(X.shape) < 0.1] = np.nan
    return program_row(
        "KNNImputer, 5,000 x 64, a tenth missing",
        lambda: sklearn.impute.KNNImputer().fit_transform(X),
        nearly,
    )


def isomap_row():
    X, _ = digits(3000)
    return program_row(
        "Isomap, 3,000 x 64",
        lambda: sklearn.manifold.Isomap(n_jobs=N_THREADS).fit_transform(X),
        in_shape,
    )


def tsne_row():
    X, _ = digits(3000)
    return program_row(
        "TSNE, 3,000 x 64",
        lambda: sklearn.manifold.TSNE(random_state=0, max_iter=250, n_jobs=N_THREADS).fit_transform(
            X
        ),
        in_shape,
    )


def silhouette_row():
    X, y = digits(10_000)
    return program_row(
        "silhouette_score, 10,000 x 64", lambda: sklearn.metrics.silhouette_score(X, y), nearly
    )


def umap_row():
    import umap

    X, _ = digits(10_000)
    return program_row(
        "UMAP, 10,000 x 64",
        lambda: umap.UMAP(random_state=0, n_jobs=1).fit_transform(X),
        in_shape,
    )


def forest_row():
    X, y = digits(5000)

    def program():
        model = sklearn.ensemble.RandomForestClassifier(random_state=0, n_jobs=N_THREADS)
        return model.fit(X, y).predict(X)

    return program_row("RandomForestClassifier, 5,000 x 64", program)


ROWS = {
    "program-imputer": imputer_row,
    "program-smote": smote_row,
    "program-edited": edited_row,
    "program-lof": lof_row,
    "program-dbscan": dbscan_row,
    "program-spreading": spreading_row,
    "program-grid": grid_row,
    "program-selection": selection_row,
    "program-isomap": isomap_row,
    "program-tsne": tsne_row,
    "program-silhouette": silhouette_row,
    "program-umap": umap_row,
    "program-forest": forest_row,
}
