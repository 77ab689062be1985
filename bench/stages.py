"""What bounds leave, and what each step of a search by them takes.

    python bench/stages.py [PATTERN]

For the searches of rows_bounded.py, or those whose keys the regular expression finds: what "auto"
chooses, codes of a row by stage, the shares of pairs that codes leave and that are evaluated (seeds
among them), milliseconds of the steps (medians of several calls, which follow each other; the sweep
is what the whole search takes beside encoding and seeds), and the arithmetic of bounds as a share
of the exhaustive search's: features of pairs that meet, products with directions among them.
"""

import re
import statistics
import sys
import time

from contest import N_THREADS
from fastnn._core.search._bounded import find_neighbors_by_bounds
from fastnn._core.search._flat import find_neighbors
from fastnn._search.bounded import design_bounds
from fastnn._search.metric_spaces import space_of
from fastnn._search.searcher import Searcher
from rows_bounded import WORKS, K

CALLS = 5


def timed(call):
    """Return the median of some calls' milliseconds, and what the last one returned."""
    times = []
    for _ in range(CALLS):
        start = time.perf_counter()
        result = call()
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times), result


def arithmetic(bounds, left, n, n_queries, d):
    """Features of pairs that meet, products with directions among them, by those of all pairs."""
    codes = [stage.shape[1] for stage in bounds.codes]
    features = n * n_queries * codes[0] * (1 + 1 / bounds.seed_step) + left[1] * d
    features += left[0] * codes[1] if len(codes) > 1 else 0
    making = (n + n_queries) * d * (codes[-1] - 1 if bounds.metric == "l2" else 1)
    return (features + making) / (n * n_queries * d)


def line_of(work):
    X, Y, space = work.X, work.Y, space_of(work.metric)
    chosen = Searcher(Y, space).kneighbors(X, K, N_THREADS).algorithm
    samples, queries = space.rows(Y, N_THREADS), space.rows(X, N_THREADS)
    metric = space.kernel
    plan, bounds = timed(lambda: design_bounds(samples, metric, N_THREADS, queries, K))
    if bounds is None:
        return [work.name, chosen] + ["-"] * 7
    make, bounds = timed(lambda: bounds.encode_samples(N_THREADS))
    encode, encoded = timed(lambda: bounds.encode(queries, N_THREADS))
    n_seeds = K + bounds.more_seeds
    seeds = timed(
        lambda: find_neighbors(
            encoded[0][0], bounds.seed_index, n_seeds, bounds.index.metric, N_THREADS
        )
    )[0]
    whole, (_, _, left) = timed(
        lambda: find_neighbors_by_bounds(queries, samples, K, metric, bounds, N_THREADS)
    )
    n_pairs = len(X) * len(Y)
    return [
        work.name,
        chosen,
        ", ".join(str(codes.shape[1]) for codes in bounds.codes),
        ", ".join(f"{100 * n / n_pairs:.2g} %" for n in left),
        f"{plan:.1f}",
        f"{make + encode:.1f}",
        f"{seeds:.1f}",
        f"{whole - encode - seeds:.1f}",
        f"{100 * arithmetic(bounds, left, len(Y), len(X), samples.n_features):.2g} %",
    ]


def main(pattern=""):
    print("| work | auto | codes | pairs left | plan | codes made | seeds | sweep | arithmetic |")
    print("|---|---|---|---|---|---|---|---|---|")
    for key, (work, _) in WORKS.items():
        if re.search(pattern, key):
            print("| " + " | ".join(line_of(work())) + " |", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
