"""How many lists an approximate search should have: what each number costs, on data of many sizes.

    python bench/sweep_lists.py [--json]

For a recall of 0.95 and k=10: seconds to build the lists, to calibrate, and to search for 10,000
queries, and microseconds of one query by itself. The numbers of lists are multiples of the root of
the number of samples; "*" marks the one nearest to what `fastnn/_search/ivf.py` takes.
"""

import argparse
import json
import math
import statistics
import time

import numpy as np

from contest import N_THREADS
from fastnn._search import ivf
from fastnn._search.metric_spaces import space_of
from fastnn._search.searcher import Searcher
from rows_approximate import WORKS

MULTIPLES = (0.5, 1.0, 2.0, 4.0)
SIZES = (20_000, 100_000, 400_000, 1_000_000)
RECALL, K = 0.95, 10


def seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(work, n, n_lists):
    """Return one line of the table."""
    Y = work.Y[np.sort(ivf.random_rows(len(work.Y), n))]
    searcher = Searcher(Y, space_of(work.metric), "ivf", recall=RECALL)
    taken = ivf.n_lists_of
    ivf.n_lists_of = lambda _: n_lists
    try:
        build = seconds(lambda: searcher._build("ivf", work.X, K, None, N_THREADS))
    finally:
        ivf.n_lists_of = taken
    calibrate = seconds(lambda: searcher.recall_of(K, N_THREADS))
    search = statistics.median(
        seconds(lambda: searcher.kneighbors(work.X, K, N_THREADS)) for _ in range(5)
    )
    one = statistics.median(
        seconds(lambda i=i: searcher.kneighbors(work.X[i : i + 1], K, 1)) for i in range(200)
    )
    return {
        "data": work.name, "samples": n, "lists": n_lists, "build": build,
        "calibrate": calibrate, "search": search, "whole": build + calibrate + search,
        "one_query_us": 1e6 * one, "visited": searcher.recall_of(K, N_THREADS).visited,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--data", nargs="*", default=list(WORKS), choices=list(WORKS))
    arguments = parser.parse_args()
    lines = []
    for name in arguments.data:
        work = WORKS[name][0]()
        for n in sorted({min(n, len(work.Y)) for n in SIZES}):
            counts = [int(multiple * math.sqrt(n)) for multiple in MULTIPLES]
            nearest = min(counts, key=lambda m, n=n: abs(math.log(m / ivf.n_lists_of(n))))
            for n_lists in counts:
                lines.append(measure(work, n, n_lists))
                mark = "*" if n_lists == nearest else " "
                cells = (f"{key} {value:.4g}" for key, value in lines[-1].items() if key != "data")
                if not arguments.json:
                    print(name, mark, ", ".join(cells), flush=True)
    if arguments.json:
        print(json.dumps(lines, indent=1))


if __name__ == "__main__":
    main()
