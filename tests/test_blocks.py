"""Neighbors among samples in parts: those of one search in all of them, bit for bit."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import children
import datasets_for_search as data
import fastnn
import oracles
from fastnn.neighbors import kneighbors_of_blocks, merge_neighbors

METRICS = ("l1", "l2", "sqeuclidean", "chebyshev", "cosine")


def parts_of(rows, cuts):
    return [rows[a:b] for a, b in itertools.pairwise([0, *sorted(cuts), len(rows)])]


# ---- merging -------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 60), max_size=6), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_merged_parts_are_the_whole(cuts, k, seed):
    rng = np.random.default_rng(seed)
    Y, X = rng.integers(0, 3, (60, 3)).astype(float), rng.integers(0, 3, (7, 3)).astype(float)
    found, start = [], 0
    for part in parts_of(Y, cuts):
        if len(part):
            distances, indices = oracles.kneighbors(X, part, min(k, len(part)), "l2")
            found.append((distances, indices + start))
        start += len(part)
    rng.shuffle(found)
    expected = oracles.kneighbors(X, Y, k, "l2")
    for merged in (
        merge_neighbors(*zip(*found, strict=True), k),
        # Parts of parts.
        merge_in_turn(found, k),
    ):
        np.testing.assert_array_equal(merged, expected)


def merge_in_turn(found, k):
    best = found[0]
    for other in found[1:]:
        n = best[0].shape[1] + other[0].shape[1]
        best = merge_neighbors(*zip(best, other, strict=True), min(k, n))
    return best


def test_merging_sorts_what_is_not_sorted():
    distances, indices = merge_neighbors([[[2.0, 0.5]], [[0.5, np.inf]]], [[[1, 9]], [[4, 2]]], 4)
    np.testing.assert_array_equal(distances, [[0.5, 0.5, 2.0, np.inf]])
    np.testing.assert_array_equal(indices, [[4, 9, 1, 2]])
    assert distances.dtype == np.float64
    assert indices.dtype == np.int64


def test_merging_no_queries():
    none = np.empty((0, 3))
    distances, indices = merge_neighbors([none, none], [none.astype(int)] * 2, 2)
    assert distances.shape == indices.shape == (0, 2)


DISTANCES, INDICES = np.zeros((2, 3)), np.zeros((2, 3), int)


@pytest.mark.parametrize(
    ("distances", "indices", "k", "error", "message"),
    [
        ([], [], 1, ValueError, "one array for each part, and at least one, got 0 and 0"),
        ([DISTANCES], [INDICES, INDICES], 1, ValueError, "at least one, got 1 and 2"),
        (
            [DISTANCES, DISTANCES[:1]],
            [INDICES, INDICES[:1]],
            1,
            ValueError,
            r"distances\[1\] and indices\[1\] must have one",
        ),
        ([DISTANCES], [INDICES[:, :2]], 1, ValueError, r"got \(2, 3\) and \(2, 2\)"),
        ([DISTANCES[0]], [INDICES[0]], 1, ValueError, "must have one shape"),
        (
            [DISTANCES],
            [DISTANCES],
            1,
            TypeError,
            r"indices\[0\] must hold integers, got dtype float64",
        ),
        (
            [DISTANCES.astype(str)],
            [INDICES],
            1,
            TypeError,
            r"distances\[0\] must hold real numbers",
        ),
        ([DISTANCES + np.nan], [INDICES], 1, ValueError, r"distances\[0\] must not contain NaN"),
        (
            [DISTANCES, DISTANCES],
            [INDICES, INDICES],
            7,
            ValueError,
            "n_neighbors must be at most 6, what all parts have, got",
        ),
        ([DISTANCES], [INDICES], 0, ValueError, "n_neighbors must be at least 1, got 0"),
        ([DISTANCES], [INDICES], 1.5, TypeError, "n_neighbors must be an integer"),
    ],
)
def test_what_cannot_be_merged(distances, indices, k, error, message):
    with pytest.raises(error, match=message):
        merge_neighbors(distances, indices, k)


# ---- blocks --------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("metric", METRICS)
def test_blocks_are_the_whole(dtype, metric, rng):
    Y, X = (
        data.make(data.duplicated, rng, 700, 12, dtype),
        data.make(data.normal, rng, 30, 12, dtype),
    )
    X[:5] = Y[[0, 100, 300, 301, 699]]
    expected = fastnn.kneighbors(X, Y, 9, metric)
    for cuts in ([], [1], [3, 3, 8], [0, 300, 700], [100, 101, 102, 103, 650]):
        found = kneighbors_of_blocks(X, iter(parts_of(Y, cuts)), 9, metric)
        np.testing.assert_array_equal(found, expected)


def test_weights_of_features(rng):
    Y, X, w = rng.random((300, 6)), rng.random((20, 6)), rng.random(6)
    found = kneighbors_of_blocks(X, [Y[:100], Y[100:]], 4, p=1, metric_params={"w": w})
    expected = fastnn.kneighbors(X, Y, 4, p=1, metric_params={"w": w})
    np.testing.assert_array_equal(found, expected)


def test_blocks_of_several_types(rng):
    Y, X = rng.integers(0, 200, (400, 5)), rng.integers(0, 200, (20, 5)).astype(np.float32)
    parts = parts_of(Y, [100, 200, 300])
    blocks = [
        part.astype(dtype)
        for part, dtype in zip(parts, (np.uint8, np.float64, np.int64, np.float32), strict=True)
    ]
    blocks[3] = np.asfortranarray(blocks[3])
    expected = fastnn.kneighbors(X, Y, 7)
    np.testing.assert_array_equal(kneighbors_of_blocks(X, blocks, 7), expected)


def test_parts_of_a_mapped_file(tmp_path, rng):
    Y, X = rng.standard_normal((500, 6)), rng.standard_normal((10, 6))
    np.save(tmp_path / "Y.npy", Y)
    mapped = np.load(tmp_path / "Y.npy", mmap_mode="r")
    blocks = (mapped[start : start + 128] for start in range(0, 500, 128))
    np.testing.assert_array_equal(kneighbors_of_blocks(X, blocks, 3), fastnn.kneighbors(X, Y, 3))


def test_frames(rng):
    pd = pytest.importorskip("pandas")
    Y, X = rng.standard_normal((50, 3)), rng.standard_normal((10, 3))
    blocks = [pd.DataFrame(Y[:30]), pd.DataFrame(Y[30:])]
    found = kneighbors_of_blocks(pd.DataFrame(X), blocks, 3)
    np.testing.assert_array_equal(found, fastnn.kneighbors(X, Y, 3))


def test_a_block_is_let_go_before_the_next(rng):
    """Each block is in memory alone: the iterator sees that nobody has the one before."""
    import sys

    counts = []

    def blocks():
        for _ in range(3):
            block = rng.standard_normal((100, 4))
            yield block
            counts.append(sys.getrefcount(block))

    kneighbors_of_blocks(rng.standard_normal((5, 4)), blocks(), 3)
    assert set(counts) == {2}  # this frame's, and the argument's


def test_a_recall_below_1(rng):
    centers = rng.standard_normal((60, 24))
    rows = (centers[rng.integers(0, 60, 9000)] + 0.4 * rng.standard_normal((9000, 24))).astype("f")
    Y, X = rows[:8000], rows[8000:]
    found = kneighbors_of_blocks(X, parts_of(Y, [4000]), 10, algorithm="ivf", recall=0.9)
    expected = fastnn.kneighbors(X, Y, 10)
    recall = (found[0] <= expected[0][:, -1:]).mean()
    assert 0.88 <= recall < 1.0


def test_progress(rng, capsys):
    kneighbors_of_blocks(rng.random((5, 4)), [rng.random((100, 4))] * 3, 3, verbose=1)
    assert "300 samples" in capsys.readouterr().err


NAN = np.full((10, 2), np.nan)


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        (
            np.zeros((3, 2)),
            TypeError,
            r"got one ndarray of shape \(3, 2\); pass parts of it, or a list",
        ),
        (7, TypeError, "blocks must be an iterable of arrays, got int"),
        (
            [np.zeros((9, 2)), np.zeros((3, 4))],
            ValueError,
            r"blocks\[1\] must have the features of",
        ),
        ([np.zeros((9, 2)), NAN], ValueError, r"blocks\[1\] must .* got NaN at row 9, column 0"),
        ([np.zeros((9, 2)), ["a"]], TypeError, r"blocks\[1\] must hold real numbers"),
        ([np.zeros(5)], ValueError, r"blocks\[0\] must be a 2-D array"),
        ([], ValueError, "n_neighbors = 3, n_samples_fit = 0"),
        ([np.zeros((1, 2)), np.zeros((0, 2))], ValueError, "n_neighbors = 3, n_samples_fit = 1"),
    ],
)
def test_wrong_blocks(blocks, error, message):
    with pytest.raises(error, match=message):
        kneighbors_of_blocks(np.zeros((2, 2)), blocks, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"X": NAN}, ValueError, "X must hold finite numbers, got NaN"),
        ({"n_neighbors": 0}, ValueError, "Expected n_neighbors > 0, got 0"),
        ({"n_neighbors": 2.0}, TypeError, "n_neighbors must be an integer"),
        ({"metric": "braycurtis"}, ValueError, "metric must be one of"),
        ({"algorithm": "best"}, ValueError, "algorithm must be one of"),
        ({"recall": 0.0}, ValueError, "recall must be above 0"),
        ({"n_jobs": 0}, ValueError, "n_jobs"),
        ({"metric_params": 3}, TypeError, "metric_params must be a dict"),
        ({"metric_params": {"w": [1.0]}}, ValueError, "w must have one weight per feature"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    arguments = {"X": np.zeros((2, 2)), "blocks": [np.zeros((9, 2))]} | arguments
    with pytest.raises(error, match=message):
        kneighbors_of_blocks(**arguments)


def test_ctrl_c_between_and_within_blocks():
    out, error = children.interrupt(
        """
import numpy as np
from fastnn.neighbors import kneighbors_of_blocks
rng = np.random.default_rng(0)
Y, X = rng.standard_normal((100_000, 64), np.float32), rng.standard_normal((4000, 64), np.float32)
tell_when_in_a_kernel()
kneighbors_of_blocks(X, (Y for _ in range(10_000)), 5)
"""
    )
    assert "KeyboardInterrupt" in error
    assert out == ""
