"""Displays of neighbors, of the choice of k, and of speed: what they draw, and every error."""

import json
import re
import sys

import numpy as np
import pytest
import sklearn.neighbors
from scipy.sparse import csr_array
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.colors import same_color  # noqa: E402

from fastnn.inspection import KSelectionDisplay, NeighborsDisplay, SpeedDisplay  # noqa: E402
from fastnn.model_selection import KNeighborsClassifierCV, KNeighborsRegressorCV  # noqa: E402
from fastnn.neighbors import KNeighborsClassifier, NearestNeighbors  # noqa: E402


@pytest.fixture(autouse=True)
def _figures_are_closed():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return X.astype(np.uint8), y


@pytest.mark.parametrize(
    "draw",
    [
        lambda: NeighborsDisplay(queries=[[1.0]], neighbors=[[[1.0]]], distances=[[0.0]]).plot(),
        lambda: NeighborsDisplay.from_estimator(None, None),
        lambda: KSelectionDisplay(n_neighbors=[1], scores={"a": [[1.0]]}).plot(),
        lambda: KSelectionDisplay.from_estimator(None),
        lambda: SpeedDisplay(results=[ROW]).plot(),
        lambda: SpeedDisplay.from_json("nowhere"),
    ],
)
def test_without_matplotlib_the_error_says_what_to_install(draw, monkeypatch):
    for name in ("matplotlib", "matplotlib.pyplot"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        ImportError, match=r'needs matplotlib: pip install "fastnn-kernels\[plot\]"'
    ):
        draw()


# ---- neighbors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [KNeighborsClassifier, sklearn.neighbors.KNeighborsClassifier])
def test_neighbors_of_a_classifier(digits, kind):
    X, y = digits
    model = kind(4).fit(X[:1000], y[:1000])
    display = NeighborsDisplay.from_estimator(model, X[1000:1040], y[1000:1040])
    distances, indices = model.kneighbors(X[1000:1040])
    assert display.axes_.shape == (40, 5)
    predictions = model.predict(X[1000:1040])
    n_wrong = 0
    for i, row in enumerate(display.axes_):
        np.testing.assert_array_equal(row[0].images[0].get_array().ravel(), X[1000 + i])
        assert row[0].get_xlabel() == f"{y[1000 + i]}\npredicted {predictions[i]}"
        for j, ax in enumerate(row[1:]):
            sample = indices[i, j]
            np.testing.assert_array_equal(ax.images[0].get_array().ravel(), X[sample])
            assert (ax.images[0].norm.vmin, ax.images[0].norm.vmax) == (0, 16)
            assert ax.get_xlabel() == f"{y[sample]}\n{distances[i, j]:.4g}"
            is_wrong = y[sample] != y[1000 + i]
            n_wrong += is_wrong
            color = "tab:red" if is_wrong else "black"
            assert same_color(ax.spines["top"].get_edgecolor(), color)
            assert same_color(ax.xaxis.label.get_color(), color)
        color = "tab:red" if predictions[i] != y[1000 + i] else "black"
        assert same_color(row[0].spines["left"].get_edgecolor(), color)
    assert n_wrong > 0
    titles = [ax.get_title() for ax in display.axes_[0]]
    assert titles == ["query", "neighbor 1", "neighbor 2", "neighbor 3", "neighbor 4"]


def test_names_in_place_of_labels(digits):
    X, y = digits
    names = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    search = KNeighborsClassifierCV([1, 2], cv=3).fit(X[:300], y[:300])
    display = NeighborsDisplay.from_estimator(
        search, X[300:303], y[300:303], n_neighbors=2, class_names=names
    )
    np.testing.assert_array_equal(display.query_labels, np.array(names)[y[300:303]])
    np.testing.assert_array_equal(display.predictions, np.array(names)[search.predict(X[300:303])])
    without = NeighborsDisplay.from_estimator(search, X[300:303], class_names=names)
    assert without.query_labels is None
    assert without.axes_[0, 0].get_xlabel() == f"predicted {without.predictions[0]}"
    with pytest.raises(ValueError, match="class_names must be 10 names, got 2"):
        NeighborsDisplay.from_estimator(search, X[:1], class_names=["a", "b"])
    with pytest.raises(ValueError, match="query_labels must be among the classes"):
        NeighborsDisplay.from_estimator(search, X[:1], [77], class_names=names)


def test_long_names_are_wrapped(digits):
    X, y = digits
    names = ["an internationalized name"] * 10
    model = KNeighborsClassifier(2).fit(X[:100], y[:100])
    display = NeighborsDisplay.from_estimator(model, X[:2], y[:2], class_names=names)
    lines = display.axes_[0, 1].get_xlabel().split("\n")
    assert lines[:2] == ["an international", "ized name"]
    assert max(map(len, lines)) <= 16
    short = NeighborsDisplay.from_estimator(model, X[:2], y[:2])
    assert display.figure_.get_size_inches()[1] > short.figure_.get_size_inches()[1]


@pytest.mark.parametrize("values", [0.5, 300.0, -1.0])
def test_bytes_among_samples_that_are_none(values):
    """Pixels are what they are: floats among which bytes are looked for are not cut off."""
    samples = np.full((3, 4), values)
    samples[0] = 7.0
    model = NearestNeighbors(n_neighbors=3).fit(samples)
    display = NeighborsDisplay.from_estimator(model, np.full((1, 4), 7, np.uint8))
    assert values in display.neighbors
    model = NearestNeighbors(n_neighbors=3).fit(np.arange(12.0).reshape(3, 4))
    display = NeighborsDisplay.from_estimator(model, np.full((1, 4), 7, np.uint8))
    assert display.neighbors.dtype == np.uint8


def test_neighbors_without_classes(digits):
    X, _ = digits
    model = NearestNeighbors(n_neighbors=2).fit(X[:100])
    display = NeighborsDisplay.from_estimator(model, X[100:101])
    distances, _ = model.kneighbors(X[100:101])
    assert display.axes_[0, 0].get_xlabel() == ""
    assert display.axes_[0, 1].get_xlabel() == f"{distances[0, 0]:.4g}"


@pytest.mark.parametrize("shape", [(3, 32, 32), (32, 32, 3), None])
def test_color_images(rng, shape):
    X = rng.integers(0, 256, (5, 3072), dtype=np.uint8)
    model = KNeighborsClassifier(2, metric="l1").fit(X, [0, 1, 0, 1, 0])
    display = NeighborsDisplay.from_estimator(model, X[:1], [0], image_shape=shape)
    expected = X[0].reshape(shape or (3, 32, 32))
    if shape != (32, 32, 3):
        expected = np.moveaxis(expected, 0, -1)
    drawn = display.axes_[0, 1].images[0].get_array()
    np.testing.assert_array_equal(drawn, expected)
    assert re.fullmatch(r"\d\n\d{3},\d{3}", display.axes_[0, 2].get_xlabel())


def test_floats_are_scaled():
    pixels = np.array([[-1.0, 0.0, 1.0, 3.0]])
    display = NeighborsDisplay(queries=pixels, neighbors=pixels[None] / 2, distances=[[0.5]]).plot()
    image = display.axes_[0, 0].images[0]
    assert (image.norm.vmin, image.norm.vmax) == (-1.0, 3.0)
    constant = np.ones((1, 12))
    color = NeighborsDisplay(
        queries=constant, neighbors=constant[None], distances=[[0.0]], image_shape=(2, 2, 3)
    ).plot()
    assert (color.axes_[0, 0].images[0].get_array() == 0).all()


def test_axes_that_are_given(digits):
    X, y = digits
    model = KNeighborsClassifier(2).fit(X[:100], y[:100])
    _, axes = plt.subplots(1, 3)
    display = NeighborsDisplay.from_estimator(model, X[:1], axes=axes[None], cmap="viridis")
    assert display.axes_[0, 2] is axes[2]
    assert display.figure_ is axes[0].figure
    assert axes[1].images[0].get_cmap().name == "viridis"
    with pytest.raises(ValueError, match=r"axes must have shape \(1, 3\).* got \(3,\)"):
        display.plot(axes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"queries": np.ones((2, 3))}, r"neighbors must have shape \(2, n_neighbors, 3\)"),
        ({"queries": np.ones(4)}, "queries must be 2-D"),
        ({"queries": np.ones(4, np.uint8)}, "queries must be 2-D"),
        ({"neighbors": np.ones((2, 4))}, "neighbors must be 3-D"),
        ({"distances": np.ones((2, 2))}, r"distances must have shape \(2, 3\), got \(2, 2\)"),
        ({"query_labels": [1]}, r"query_labels must have shape \(2,\)"),
        ({"neighbor_labels": [1, 2]}, r"neighbor_labels must have shape \(2, 3\)"),
        ({"predictions": [[1, 2]]}, r"predictions must have shape \(2,\)"),
        ({"image_shape": (3, 3)}, "image_shape must be"),
    ],
)
def test_wrong_data_of_neighbors(changes, message):
    data = {
        "queries": np.ones((2, 4)),
        "neighbors": np.ones((2, 3, 4)),
        "distances": np.ones((2, 3)),
    }
    with pytest.raises(ValueError, match=message):
        NeighborsDisplay(**(data | changes))


def test_estimators_without_neighbors(digits):
    X, y = digits
    with pytest.raises(NotFittedError):
        NeighborsDisplay.from_estimator(KNeighborsClassifier(), X)
    with pytest.raises(TypeError, match=r"have kneighbors\(\).* got LogisticRegression"):
        NeighborsDisplay.from_estimator(
            LogisticRegression(max_iter=1000).fit(X[:50] / 16, y[:50]), X
        )
    with pytest.raises(TypeError, match="fitted on a dense array"):
        NeighborsDisplay.from_estimator(KNeighborsClassifier().fit(csr_array(X), y), X)


# ---- the choice of k -----------------------------------------------------------------------------


def test_curves_of_a_search(digits):
    X, y = digits
    search = KNeighborsClassifierCV([1, 3, 6], metric=["l1", "l2"], cv=4).fit(X[:300], y[:300])
    display = KSelectionDisplay.from_estimator(search)
    results = search.cv_results_
    for name, line in display.lines_.items():
        chosen = [
            i
            for i, candidate in enumerate(results["params"])
            if f"{candidate['metric']}, {candidate['weights']}" == name
        ]
        np.testing.assert_array_equal(line.get_xdata(), [1, 3, 6])
        np.testing.assert_allclose(line.get_ydata(), results["mean_test_score"][chosen])
        for i in range(4):
            np.testing.assert_array_equal(
                display.scores[name][:, i], results[f"split{i}_test_score"][chosen]
            )
    assert len(display.lines_) == 4
    assert len(display.ax_.collections) == 4  # the bands
    best = search.best_params_
    title = f"{best['metric']}, {best['weights']}, k = {best['n_neighbors']}"
    assert display.best_.get_label() == f"best: {title}, {search.best_score_:.4g}"
    assert display.ax_.get_ylabel() == "Accuracy"


def test_spread():
    display = KSelectionDisplay(n_neighbors=[1, 2], scores={"a": [[0.0, 1.0], [0.5, 0.5]]}).plot()
    band = display.ax_.collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 0.0
    assert band[:, 1].max() == 1.0
    np.testing.assert_array_equal(display.lines_["a"].get_ydata(), [0.5, 0.5])


def test_many_splits_and_one_split_have_no_band(digits):
    X, y = digits
    for cv in ("loo", 0.2):
        search = KNeighborsClassifierCV([1, 3], "uniform", cv=cv, random_state=0)
        display = KSelectionDisplay.from_estimator(search.fit(X[:200], y[:200]))
        assert not display.ax_.collections
        assert len(display.ax_.lines) == 2


def test_other_searches(digits):
    X, y = digits
    pipeline = Pipeline([("scale", StandardScaler()), ("knn", KNeighborsClassifier())])
    search = GridSearchCV(pipeline, {"knn__n_neighbors": [5, 1]}, cv=3, scoring="f1_macro")
    display = KSelectionDisplay.from_estimator(search.fit(X[:200], y[:200]))
    assert list(display.lines_) == ["mean"]
    assert display.n_neighbors.tolist() == [1, 5]
    assert display.ax_.get_ylabel() == "F1 macro"
    regression = KNeighborsRegressorCV([1, 2], "uniform", cv=3).fit(X[:200], y[:200])
    assert KSelectionDisplay.from_estimator(regression).ax_.get_ylabel() == "R²"

    def scorer(estimator, X, y):
        return 0.5

    own = KNeighborsRegressorCV([1, 2], "uniform", cv=3, scoring=scorer).fit(X[:200], y[:200])
    assert KSelectionDisplay.from_estimator(own).ax_.get_ylabel() == "Score"


def test_curves_of_one_name(digits):
    """Functions, and parameters of several grids, may be called the same."""
    X, y = digits[0][:200], digits[1][:200]
    weights = [lambda d: 1 / (1 + d), lambda d: 1 / (1 + d) ** 9]
    search = KNeighborsClassifierCV([5, 9, 30], weights, cv=3).fit(X, y)
    display = KSelectionDisplay.from_estimator(search)
    assert list(display.lines_) == ["minkowski, <lambda>", "minkowski, <lambda> (2)"]
    first, second = display.scores.values()
    assert not np.array_equal(first, second)


def test_the_mark_is_that_of_the_search(digits):
    """Of equal scores it is the first candidate, which need not be in the first curve."""
    X, y = digits[0][:200], digits[1][:200]
    search = KNeighborsClassifierCV(
        [1, 2, 3], ["uniform", "distance"], cv=3, scoring=lambda *_: 1.0
    )
    assert KSelectionDisplay.from_estimator(search.fit(X, y)).best == ("minkowski, uniform", 1)
    search.cv_results_["mean_test_score"][3] = 2.0
    search.best_index_ = 3
    display = KSelectionDisplay.from_estimator(search)
    assert display.best == ("minkowski, distance", 2)
    assert display.best_.get_label() == "best: minkowski, distance, k = 2, 1"


def test_means_that_are_not_finite():
    scores = {"a": [[np.nan, 1.0], [0.2, 0.4]], "b": [[np.inf, 0.1], [0.1, 0.1]]}
    display = KSelectionDisplay(n_neighbors=[1, 2], scores=scores).plot()
    assert display.best_.get_label() == "best: a, k = 2, 0.3"
    display = KSelectionDisplay(n_neighbors=[1], scores={"a": [[np.nan]]}).plot()
    assert display.best_ is None


def test_candidates_that_were_tried_several_times(digits):
    X, y = digits[0][:300], digits[1][:300]
    grid = {"n_neighbors": [1, 2, 3, 4]}
    search = HalvingGridSearchCV(KNeighborsClassifier(), grid, cv=3, min_resources=60)
    with pytest.raises(ValueError, match="must have tried each candidate once, got several scores"):
        KSelectionDisplay.from_estimator(search.fit(X, y))


def test_axes_that_are_given_to_the_choice_of_k():
    _, ax = plt.subplots()
    display = KSelectionDisplay(n_neighbors=[1, 2], scores={"a": [[0.1], [0.2]]})
    assert display.plot(ax, linewidth=5).ax_ is ax
    assert display.lines_["a"].get_linewidth() == 5
    assert ax.get_legend() is not None


def test_estimators_that_chose_no_k(digits):
    X, y = digits
    with pytest.raises(NotFittedError):
        KSelectionDisplay.from_estimator(KNeighborsClassifierCV())
    with pytest.raises(TypeError, match=r"a search with one score.* got KNeighborsClassifier"):
        KSelectionDisplay.from_estimator(KNeighborsClassifier().fit(X, y))
    other = GridSearchCV(KNeighborsClassifier(), {"weights": ["uniform", "distance"]}, cv=3)
    with pytest.raises(ValueError, match="must have tried numbers of neighbors"):
        KSelectionDisplay.from_estimator(other.fit(X[:99], y[:99]))
    grids = [{"n_neighbors": [1, 2], "p": [1]}, {"n_neighbors": [1], "p": [2]}]
    uneven = GridSearchCV(KNeighborsClassifier(), grids, cv=3).fit(X[:99], y[:99])
    with pytest.raises(ValueError, match=r"the same numbers .* \[1, 2\] and, for '2', \[1\]"):
        KSelectionDisplay.from_estimator(uneven)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"n_neighbors": [2, 1], "scores": {"a": [[1.0], [1.0]]}}, "n_neighbors must ascend"),
        ({"n_neighbors": [1], "scores": {}}, "at least one curve"),
        ({"n_neighbors": [1], "scores": {"a": [1.0]}}, "scores must be 2-D"),
        ({"n_neighbors": [1, 2], "scores": {"a": [[1.0]]}}, "scores of 'a' must have a row"),
        ({"n_neighbors": [1], "scores": {"a": [[1.0]]}, "best": ("b", 1)}, "best must be"),
        ({"n_neighbors": [1], "scores": {"a": [[1.0]]}, "best": ("a", 2)}, "best must be"),
    ],
)
def test_wrong_data_of_the_choice_of_k(data, message):
    with pytest.raises(ValueError, match=message):
        KSelectionDisplay(**data)


# ---- speed ---------------------------------------------------------------------------------------

ROW = {"row": "L2", "fastnn_ms": 2.0, "peers_ms": {"faiss": 3.0, "torch": 8.0}}
SLOW = {"row": "vote", "fastnn_ms": 4.0, "peers_ms": {"torch": 2.0}}


def test_ratios_of_peers(tmp_path):
    path = tmp_path / "ratios.json"
    path.write_text(json.dumps([ROW, SLOW]))
    display = SpeedDisplay.from_json(path, markersize=3)
    assert display.results == [ROW, SLOW]
    points = {name: line.get_xydata().tolist() for name, line in display.points_.items()}
    assert points == {"faiss": [[1.5, 0.0]], "torch": [[4.0, 0.0], [0.5, 1.0]]}
    assert [text.get_text() for text in display.ax_.texts] == ["1.5x", "0.5x"]
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ["L2", "vote"]
    assert display.ax_.get_xscale() == "log"
    _, ax = plt.subplots()
    assert SpeedDisplay(results=[ROW]).plot(ax).ax_ is ax


def test_many_peers_are_told_apart():
    row = {"row": "work", "fastnn_ms": 1.0, "peers_ms": {f"peer {i}": 2.0 + i for i in range(25)}}
    points = SpeedDisplay(results=[row]).plot().points_.values()
    assert len({(line.get_color(), line.get_marker()) for line in points}) == 25


def test_files_of_something_else(tmp_path):
    path = tmp_path / "ratios.json"
    with pytest.raises(FileNotFoundError):
        SpeedDisplay.from_json(path)
    for content, message in [
        ("no", "must hold JSON"),
        ("{}", "must hold a list of rows, got dict"),
        ("[]", "at least one row"),
        ("[3]", "a row without row, fastnn_ms, peers_ms"),
        ('[{"row": "a", "fastnn_ms": 1}]', "a row without peers_ms"),
        ('[{"row": "a", "fastnn_ms": "1", "peers_ms": {"b": 1}}]', "got '1' of fastnn"),
        ('[{"row": "a", "fastnn_ms": 1, "peers_ms": {"b": null}}]', "above 0, got None of b"),
        ('[{"row": "a", "fastnn_ms": 1, "peers_ms": {"b": -2}}]', "above 0, got -2 of b"),
        ('[{"row": "a", "fastnn_ms": NaN, "peers_ms": {"b": 1}}]', "above 0, got nan of fastnn"),
        ('[{"row": "a", "fastnn_ms": 1, "peers_ms": [3]}]', "peers_ms must be times by name"),
        ("[" * 100_000, "must hold JSON"),
    ]:
        path.write_text(content)
        with pytest.raises(ValueError, match=message):
            SpeedDisplay.from_json(path)
