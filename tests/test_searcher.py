"""The choice among the algorithms, how it shows, and what lasts."""

import gc
import logging
import pickle
import sys
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import joblib
import numpy as np
import pytest

import fastnn
import oracles
from fastnn._search import kd_tree, planner
from fastnn._search import searcher as searcher_module
from fastnn._search.brute import BruteForce
from fastnn._search.metric_spaces import space_of
from fastnn._search.protocol import Samples, build_lock
from fastnn._search.searcher import ALGORITHMS, Searcher
from fastnn._sklearn.preparation import prepare
from fastnn.neighbors import KNeighborsClassifier, NearestNeighbors
from oracles import assert_same


def image_like(rng, n, d=600):
    return rng.standard_normal((n, 8)) @ rng.standard_normal((8, d)) + 0.1 * rng.random((n, d))


@pytest.fixture
def small_pilots(monkeypatch):
    """Looks at bounds are worth it, however short the search."""
    monkeypatch.setattr(planner, "DESIGN_SHARE", np.inf)


@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean", "chebyshev", "cosine"])
@pytest.mark.parametrize("d", [2, 80])
def test_all_kinds_agree(algorithm, metric, d, rng):
    X, Y = rng.standard_normal((150, d)), rng.standard_normal((2000, d))
    expected = fastnn.kneighbors(X, Y, 6, metric, algorithm="brute")
    # scikit-learn allows no name of a tree with these metrics.
    unnamed = algorithm == "kd_tree" and metric in ("sqeuclidean", "cosine")
    in_estimator = "auto" if unnamed else algorithm
    model = NearestNeighbors(n_neighbors=6, metric=metric, algorithm=in_estimator)
    for found in (
        fastnn.kneighbors(X, Y, 6, metric, algorithm=algorithm),
        model.fit(Y).kneighbors(X),
    ):
        np.testing.assert_array_equal(found[1], expected[1])
        np.testing.assert_array_equal(found[0], expected[0])


@pytest.mark.parametrize("algorithm", ["brute", "bounded", "kd_tree"])
def test_searches_do_not_wait_for_what_others_build(algorithm, rng):
    Y, found = image_like(rng, 500, 40), []
    searcher = Searcher(Y, "l2", algorithm)
    expected = searcher.kneighbors(Y[:9], 3, 1)
    with build_lock:
        other = threading.Thread(target=lambda: found.append(searcher.kneighbors(Y[:9], 3, 1)))
        other.start()
        other.join(60)
        assert found
    np.testing.assert_array_equal(found[0].indices, expected.indices)


def test_auto_takes_bounds_where_they_pay(small_pilots, rng):
    Y = image_like(rng, 3000)
    index = Searcher(Y, "l2")
    assert index.latest_plan == ("brute", "nothing has been searched for yet")
    found = index.kneighbors(Y[:1000], 5, 2)
    assert found.algorithm == "bounded"
    assert "bounds leave" in found.reason
    assert index.latest_plan == found[2:]


def test_auto_takes_brute_where_bounds_do_not_pay(small_pilots, rng):
    index = Searcher(rng.standard_normal((3000, 128)), "l2")
    found = index.kneighbors(index.Y[:1000], 5, 2)
    assert found.algorithm == "brute"
    assert "bounds leave" in found.reason


def test_short_searches_are_not_looked_at(rng):
    index = Searcher(image_like(rng, 1000), "l2")
    found = index.kneighbors(index.Y[:10], 5, 2)
    assert found.algorithm == "brute"
    assert "too short" in found.reason


def test_a_glance_is_enough_where_bounds_are_hopeless(monkeypatch, rng):
    monkeypatch.setattr(planner, "DESIGN_SHARE", 0.0)
    monkeypatch.setattr(planner, "QUICK_SHARE", np.inf)
    index = Searcher(rng.standard_normal((3000, 500)), "l2")
    index.kneighbors(index.Y[:1000], 5, 2)
    assert index.latest_plan == ("brute", "bounds do not look promising")
    index = Searcher(image_like(rng, 3000), "l2")
    assert index.kneighbors(index.Y[:1000], 5, 2).algorithm == "bounded"


@pytest.mark.parametrize("metric", ["l1", "l2", "sqeuclidean"])
def test_auto_looks_at_radii_too(small_pilots, metric, rng):
    """A few neighbors each are found by bounds; half of all samples are not."""
    Y = image_like(rng, 3000)
    distances = fastnn.pairwise_distances(Y[:300], Y, metric)
    for share, algorithm in ((0.002, "bounded"), (0.5, "brute")):
        radius = float(np.quantile(distances, share))
        found = Searcher(Y, metric).radius_neighbors(Y[:300], radius, 2, False)
        counts = found.slices[0][0]
        np.testing.assert_array_equal(counts, (distances[: len(counts)] <= radius).sum(axis=1))
        assert found.algorithm == algorithm, found.reason


def test_auto_takes_the_tree_for_few_features(rng):
    index = Searcher(rng.random((5000, 3)), "l1")
    assert index.kneighbors(index.Y[:5], 5, 2).algorithm == "brute"
    found = index.kneighbors(index.Y[:500], 5, 2)
    assert found.algorithm == "kd_tree"
    assert "of 5,000 samples" in found.reason


def test_what_a_kind_cannot_serve_is_searched_all_the_same(rng):
    X = rng.standard_normal((100, 5))
    index = Searcher(X, "l2", "bounded")
    found = index.kneighbors(X, 3, 1)
    np.testing.assert_array_equal(found.indices, oracles.kneighbors(X, X, 3, "l2")[1])
    assert found[2:] == ("brute", "there are no bounds for such values")


def test_estimators_say_what_they_use(rng, small_pilots):
    Y = image_like(rng, 3000)
    model = NearestNeighbors().fit(Y)
    assert model.effective_algorithm_ == "brute"
    model.kneighbors(Y[:1000])
    assert model.effective_algorithm_ == "bounded"
    assert model.explain_algorithm().startswith("bounded: bounds leave")
    model.fit(Y[:10])
    assert model.effective_algorithm_ == "brute"
    named = NearestNeighbors(algorithm="kd_tree").fit(Y[:, :3])
    assert named.explain_algorithm() == "kd_tree: algorithm='kd_tree'"
    theirs = NearestNeighbors(algorithm="ball_tree").fit(Y[:, :3])
    assert theirs.explain_algorithm() == "ball_tree: scikit-learn's own, for algorithm 'ball_tree'"
    bounded = NearestNeighbors(algorithm="bounded").fit(Y)
    bounded.kneighbors(Y[:9])
    assert bounded.explain_algorithm() == "bounded: algorithm='bounded'"
    assert bounded.algorithm == "bounded"
    theirs = NearestNeighbors(metric="canberra").fit(Y[:50, :3])
    assert theirs.effective_algorithm_ == theirs._fit_method
    assert "scikit-learn's own, for metric 'canberra'" in theirs.explain_algorithm()


def test_the_choice_is_logged(rng, small_pilots, caplog):
    caplog.set_level(logging.DEBUG, logger="fastnn")
    Y = image_like(rng, 3000)
    NearestNeighbors().fit(Y).kneighbors(Y[:1000])
    messages = [record.getMessage() for record in caplog.records]
    assert any("'auto' chose 'bounded': bounds leave" in message for message in messages)
    assert any("bounded built in" in message for message in messages)
    assert any("% of the pairs" in message for message in messages)


def test_indexes_are_made_once_and_not_pickled(rng):
    Y = rng.random((3000, 3))
    model = NearestNeighbors().fit(Y)
    model.kneighbors(Y)
    index = prepare(model).searcher
    model.kneighbors(Y[:200])
    assert prepare(model).searcher is index
    again = pickle.loads(pickle.dumps(model))
    assert prepare(again).searcher is not index
    np.testing.assert_array_equal(again.kneighbors(Y)[1], model.kneighbors(Y)[1])
    assert len(pickle.dumps(model)) < 2 * Y.nbytes
    kept = weakref.ref(index)
    del index, model
    gc.collect()
    assert kept() is None, "an index goes with its estimator"


def test_queries_of_another_dtype(rng):
    Y = rng.integers(0, 255, (2000, 3), dtype=np.uint8)
    X = rng.random((300, 3)) * 255
    model = NearestNeighbors(n_neighbors=4).fit(Y)
    np.testing.assert_array_equal(
        model.kneighbors(X, return_distance=False), oracles.kneighbors(X, Y, 4, "l2")[1]
    )


def test_rows_of_another_type_are_kept(rng):
    """And what is made of them: queries that need it come again."""
    Y = rng.random((5000, 3)).astype(np.float32)
    index = Searcher(Y, "l2", "kd_tree")
    X = rng.random((20, 3))
    for _ in range(3):
        indices = index.kneighbors(X, 4, 2)[1]
        np.testing.assert_array_equal(indices, oracles.kneighbors(X, Y.astype(float), 4, "l2")[1])
    assert list(index._wider) == [np.float64]
    assert "kd_tree" not in index._built


@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("kind", ["brute", "bounded", "kd_tree"])
def test_radius_without_distances(kind, exclude_self, rng):
    X = image_like(rng, 1000)
    index = Searcher(X, "l2", kind)
    radius = float(np.median(index.kneighbors(X, 5, 2)[0]))
    ours = index.radius_neighbors(X, radius, 2, False, exclude_self, with_distances=False).slices
    expected = oracles.radius_neighbors(X, X, radius, "l2", exclude_self)
    assert all(distances is None for _, distances, _ in ours)
    np.testing.assert_array_equal(
        np.concatenate([indices for *_, indices in ours]),
        np.concatenate([np.sort(indices) for _, indices in expected]),
    )


@pytest.mark.parametrize("metric", ["l1", "l2", "cosine"])
@pytest.mark.parametrize("algorithm", ["brute", "bounded", "kd_tree"])
def test_searchers_are_pickled_with_what_they_have_built(rng, monkeypatch, metric, algorithm):
    X = image_like(rng, 1500, 90).astype(np.float32)
    searcher = Searcher(X, space_of(metric), algorithm)
    for _ in range(2):
        expected = searcher.kneighbors(X[:100], 5, 2)
    again = pickle.loads(pickle.dumps(searcher))
    assert again.latest_plan == searcher.latest_plan
    for name in ("brute", "bounded", "kd_tree"):
        monkeypatch.setattr(ALGORITHMS[name], "build", None)  # nothing is built anew
    assert_same(again.kneighbors(X[:100], 5, 2), expected)


def test_searchers_are_loaded_without_a_copy(rng, tmp_path):
    X = rng.random((5000, 3))
    searcher = Searcher(X, "l2", "kd_tree")
    expected = searcher.kneighbors(X, 4, 2)
    joblib.dump(searcher, tmp_path / "searcher.joblib")
    again = joblib.load(tmp_path / "searcher.joblib", mmap_mode="r")
    assert isinstance(again.Y, np.memmap)
    assert all(
        isinstance(array, np.memmap)
        for array in again._built["kd_tree"].tree.__reduce__()[1][-1][:2]
    )
    assert_same(again.kneighbors(np.array(X), 4, 2), expected)


def test_searchers_tell_their_bytes(rng):
    X = rng.random((5000, 30)).astype(np.float32)
    searcher = Searcher(X, "l2", "brute")
    assert searcher.nbytes == 0
    for _ in range(2):
        searcher.kneighbors(X[:200], 4, 2)
    assert X.nbytes < searcher.nbytes < 1.5 * X.nbytes
    assert sys.getsizeof(searcher) > searcher.nbytes
    lean = Searcher(X, "l2", "brute", memory="none")
    for _ in range(2):
        lean.kneighbors(X[:200], 4, 2)
    assert lean.nbytes < 0.1 * X.nbytes
    tree = Searcher(X[:, :3].copy(), "l2", "kd_tree")
    tree.kneighbors(X[:9, :3].copy(), 4, 2)
    assert tree.nbytes > 5000 * 3 * 4


class Shuffled:
    """Brute force in the samples in another order."""

    name = "shuffled"

    def __init__(self, samples):
        self.order = np.random.default_rng(0).permutation(len(samples))
        values = samples.values[self.order]
        self.inner = BruteForce.build(Samples(values, samples.space))

    @classmethod
    def build(cls, samples, design, n_threads, advance=None):
        return cls(samples)

    @property
    def nbytes(self):
        return self.inner.nbytes

    def kneighbors(self, X, k, n_threads, advance=None, exclude_self=False, subset=None):
        distances, places = self.inner.kneighbors(X, len(self.order), n_threads, advance)
        indices = self.order[places]
        first = np.lexsort((indices, distances))[:, :k]
        return np.take_along_axis(distances, first, 1), np.take_along_axis(indices, first, 1)


def test_an_algorithm_of_another_kind(monkeypatch, rng):
    monkeypatch.setitem(ALGORITHMS, "shuffled", Shuffled)
    X, Y = rng.integers(0, 3, (2, 40, 4)).astype(float)
    found = Searcher(Y, "l2", "shuffled").kneighbors(X, 5, 2)
    assert_same(found, oracles.kneighbors(X, Y, 5, "l2"))
    assert found.algorithm == "shuffled"
    assert_same(fastnn.kneighbors(X, Y, 5, algorithm="shuffled"), found)


def test_threads_do_not_mix_up_their_plans(rng):
    """What comes back says what found it, whatever others search for meanwhile."""
    Y = rng.random((3000, 3))
    searcher = Searcher(Y, "l2")
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: searcher.kneighbors(Y[:n], 3, 1), [1, 500] * 20))
    assert {f.algorithm for f in found} <= {"brute", "kd_tree"}
    assert all(("too short" in f.reason) == (f.algorithm == "brute") for f in found)


def test_classifiers_take_the_name(rng):
    X, y = rng.standard_normal((300, 70)), rng.integers(0, 3, 300)
    expected = KNeighborsClassifier(algorithm="brute").fit(X, y).predict_proba(X)
    model = KNeighborsClassifier(algorithm="bounded").fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), expected)


def test_unknown_names():
    with pytest.raises(ValueError, match="algorithm must be one of 'auto', 'brute', 'bounded'"):
        fastnn.kneighbors([[1.0]], [[1.0]], 1, algorithm="cover_tree")
    with pytest.raises(TypeError, match="algorithm must be a string"):
        fastnn.kneighbors([[1.0]], [[1.0]], 1, algorithm=None)
    with pytest.raises(ValueError, match="'algorithm' parameter"):
        NearestNeighbors(algorithm="cover_tree").fit([[1.0]])


def test_what_is_kept_for_wider_queries_counts(rng):
    Y = rng.random((3000, 3)).astype(np.float32)
    searcher = Searcher(Y, "l2", "kd_tree")
    searcher.kneighbors(Y[:9].copy(), 3, 1)
    before = searcher.nbytes
    searcher.kneighbors(rng.random((9, 3)), 3, 1)
    wide = Searcher(Y.astype(np.float64), "l2", "kd_tree")
    wide.kneighbors(wide.Y[:9].copy(), 3, 1)
    assert searcher.nbytes == before + wide.Y.nbytes + wide.nbytes


def test_the_latest_plan_is_that_of_the_last_search(rng):
    Y = rng.random((20_000, 3))
    searcher = Searcher(Y, "l2")
    for search in (
        lambda n: searcher.kneighbors(Y[:n].copy(), 3, 1),
        lambda n: searcher.radius_neighbors(Y[:n].copy(), 0.01, 1, False),
    ):
        for n in (1, 20_000, 1):
            found = search(n)
            assert searcher.latest_plan == (found.algorithm, found.reason)
        assert searcher.latest_plan.algorithm == "kd_tree"


# ---- what is done once, and what is told ---------------------------------------------------------


def counted(monkeypatch, owner, name):
    """Have calls of a function counted in the list that is returned."""
    calls, function = [], getattr(owner, name)

    def call(*args, **kwargs):
        calls.append(name)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, call)
    return calls


def test_plans_are_made_again_when_searches_have_doubled(monkeypatch, rng):
    planned = counted(monkeypatch, Searcher, "_best_plan")
    searcher = Searcher(rng.random((500, 3)), "l2")
    for row in rng.random((33, 1, 3)):
        searcher.kneighbors(row, 3, 1)
    assert len(planned) == 6  # with 1, 2, 4, 8, 16 and 32 queries


def test_a_tree_that_was_tried_is_the_one_that_is_used(monkeypatch, rng):
    built = counted(monkeypatch, kd_tree, "KDTree")
    searcher = Searcher(rng.random((20_000, 3)), "l2")
    assert searcher.kneighbors(rng.random((20_000, 3)), 3, 1).algorithm == "kd_tree"
    assert len(built) == 1


def test_only_bounds_are_designed(monkeypatch, rng):
    designed = counted(monkeypatch, searcher_module, "design_bounds")
    Y = image_like(rng, 1000, 100)
    for algorithm in ("brute", "kd_tree"):
        Searcher(Y, "l2", algorithm).kneighbors(Y[:50].copy(), 3, 1)
    assert not designed
    for _ in range(2):
        Searcher(Y, "l2", "bounded").kneighbors(Y[:50].copy(), 3, 1)
    assert len(designed) == 2


def test_a_quick_look_is_no_design(monkeypatch, rng):
    monkeypatch.setattr(planner, "DESIGN_SHARE", 0.0)
    monkeypatch.setattr(planner, "QUICK_SHARE", np.inf)
    index = Searcher(image_like(rng, 3000), "l2")
    assert index.kneighbors(index.Y[:1000], 5, 2).algorithm == "bounded"
    assert not index._built["bounded"].bounds.quick


def test_rows_that_have_no_bounds(small_pilots):
    Y = np.ones((500, 100))
    found = Searcher(Y, "l2").kneighbors(np.zeros((50, 100)), 3, 1)
    assert found[2:] == ("brute", "there are no bounds for such values")
    assert (found.indices == [0, 1, 2]).all()


def test_trees_for_radii_do_not_stay_for_neighbors(rng):
    """One that was tried for radii in vain is dropped; one that neighbors are found by is not."""
    Y = rng.random((30_000, 8)).astype(np.float32)
    radius = float(np.quantile(fastnn.pairwise_distances(Y[:50], Y), 0.01))
    searcher = Searcher(Y, "l2")
    assert searcher.radius_neighbors(Y[:3000].copy(), radius, 2, False).algorithm == "brute"
    assert "kd_tree" not in searcher._built
    searcher = Searcher(Y, "l2")
    assert searcher.kneighbors(Y, 10, 2).algorithm == "kd_tree"
    assert searcher.radius_neighbors(Y[:3000].copy(), radius, 2, False).algorithm == "brute"
    assert "kd_tree" in searcher._built


@pytest.mark.parametrize("algorithm", ["auto", "brute", "bounded", "kd_tree"])
@pytest.mark.parametrize("n_queries", [3, 20_000])
def test_shares_of_the_work_add_up(algorithm, n_queries, rng):
    Y = rng.random((20_000, 70 if algorithm == "bounded" else 3))
    told = []
    Searcher(Y, "l2", algorithm).kneighbors(Y[:n_queries].copy(), 3, 2, told.append)
    assert sum(told) == pytest.approx(1.0)
    assert all(0.0 < share <= 1.0 for share in told)
