"""What an installed fastnn must do on a CPU without AVX; check_without_avx.sh provides the CPU."""

import time

import numpy as np

import fastnn

N_QUERIES, N_SAMPLES, N_FEATURES, N_NEIGHBORS = 120, 700, 61, 5
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-13, np.uint8: 1e-13}


def true_distances(X, Y, metric):
    difference = X.astype(np.float64)[:, None, :] - Y.astype(np.float64)
    if metric == "l1":
        return np.abs(difference).sum(axis=2)
    squared = (difference * difference).sum(axis=2)
    return np.sqrt(squared) if metric == "l2" else squared


def check_instruction_sets():
    assert fastnn.available_isas() == ("baseline",), fastnn.available_isas()
    assert fastnn.get_isa() == "baseline"
    for isa in ("avx2", "avx512"):
        try:
            fastnn.set_isa(isa)
        except ValueError as error:
            print(f"refused: {error}")
        else:
            raise AssertionError(f"set_isa({isa!r}) was accepted")


def check_results(dtype, metric):
    rng = np.random.default_rng(0)
    X = (50 * rng.random((N_QUERIES, N_FEATURES))).astype(dtype)
    Y = (50 * rng.random((N_SAMPLES, N_FEATURES))).astype(dtype)
    truth = true_distances(X, Y, metric)
    nearest = np.argsort(truth, axis=1, kind="stable")[:, :N_NEIGHBORS]
    for n in (N_QUERIES, 1):  # by tiles and by rows
        distances, indices = fastnn.kneighbors(X[:n], Y, N_NEIGHBORS, metric)
        np.testing.assert_array_equal(indices, nearest[:n])
        np.testing.assert_allclose(
            distances, np.take_along_axis(truth, nearest, axis=1)[:n], rtol=1e-14
        )
    np.testing.assert_allclose(
        fastnn.pairwise_distances(X, Y, metric), truth, rtol=TOLERANCE[dtype]
    )


def main():
    start = time.perf_counter()
    check_instruction_sets()
    for dtype in (np.float32, np.float64, np.uint8):
        for metric in ("l1", "l2", "sqeuclidean"):
            check_results(dtype, metric)
            print(f"right: kneighbors and pairwise_distances, {dtype.__name__}, {metric}")
    print(f"fastnn {fastnn.__version__} runs without AVX ({time.perf_counter() - start:.0f} s)")


if __name__ == "__main__":
    main()
