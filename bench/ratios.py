"""The figures that we quote: fastnn against its peers, as ratios from one run.

    python bench/ratios.py [--rows PATTERN] [--turns N] [--json]
    python bench/ratios.py --release FOLDER --machine NAME
    python bench/ratios.py --markdown FOLDER

For each row the contestants take turns in one process, all with the same number of threads. Before
anything is timed, results are compared with a float64 oracle. What counts is the median of the
turns. Peers get their best settings, and indexes built beforehand: their fit is not counted, while
fastnn's calls include all they do. "of limit" is the fraction reached of a limit measured in the
same turns. The rows and their limits are in rows_*.py, the engine is in contest.py, what a release
quotes in figures.py.

The environment variable FASTNN_CIFAR10 may name the folder of CIFAR-10's python version. Without
it, rows on images get random pixels of the same shape and say so.
"""

import argparse
import json
import re
import subprocess
import sys

from threadpoolctl import threadpool_limits

import fastnn
import figures
import rows_approximate
import rows_bounded
import rows_circuit
import rows_dask
import rows_linear
import rows_neighbors
import rows_network
import rows_pairwise
import rows_programs
import rows_selection
import rows_trees
from contest import N_THREADS, as_markdown, measure, summarize

ROWS = (
    rows_neighbors.ROWS
    | rows_pairwise.ROWS
    | rows_bounded.ROWS
    | rows_approximate.ROWS
    | rows_trees.ROWS
    | rows_linear.ROWS
    | rows_network.ROWS
    | rows_circuit.ROWS
    | rows_selection.ROWS
    | rows_dask.ROWS
    | rows_programs.ROWS
)

MEMORY_PROGRAM = """
import re, sys
import numpy as np, fastnn
def status(field):
    return int(re.search(field + r":\\s*(\\d+) kB", open("/proc/self/status").read())[1])
rng = np.random.default_rng(0)
Y = rng.standard_normal((200_000, 128), dtype=np.float32)
X = rng.standard_normal((10_000, 128), dtype=np.float32)
fastnn.kneighbors(X[:100], Y[:1000], 10, n_jobs=%d)
open("/proc/self/clear_refs", "w").write("5")  # start the high-water mark anew
before = status("VmRSS")
results = fastnn.kneighbors(X, Y, 10, n_jobs=%d)
print((status("VmHWM") - before) * 1024 - sum(r.nbytes for r in results))
"""


def peak_memory():
    """MiB that 10,000 queries on 200,000 x 128 take beyond inputs and outputs (Linux)."""
    program = MEMORY_PROGRAM % (N_THREADS, N_THREADS)
    command = [sys.executable, "-c", program]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(result.stdout) / 2**20


def log(line):
    print(line, file=sys.stderr, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="", help="regular expression on the rows' keys")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--release", metavar="FOLDER", help="measure what a release quotes")
    parser.add_argument("--machine", metavar="NAME", help="what a release was measured on")
    parser.add_argument("--markdown", metavar="FOLDER", help="print the table of a release")
    arguments = parser.parse_args()
    if arguments.markdown:
        print(figures.as_markdown(figures.headlines(figures.read(arguments.markdown))))
        return
    if arguments.release:
        if not arguments.machine:
            parser.error("--release needs --machine: the CPU's name and generation")
        with threadpool_limits(N_THREADS):
            measured = figures.measure_release(ROWS, arguments.turns, arguments.machine, log)
        figures.write(measured, arguments.release)
        return
    chosen = {key: build for key, build in ROWS.items() if re.search(arguments.rows, key)}
    shows_memory = bool(re.search(arguments.rows, "memory"))
    if not chosen and not shows_memory:
        parser.error(f"no row matches {arguments.rows!r}; there are {', '.join(ROWS)}, memory")
    results = []
    with threadpool_limits(N_THREADS):
        for build in chosen.values():
            try:
                row = build()
            except ImportError as error:
                log(error)
                continue
            results.append(summarize(row, measure(row, arguments.turns)))
            log(as_markdown(results[-1:]).splitlines()[-1])
    if arguments.json:
        print(json.dumps(results, indent=1))
    elif results:
        print(f"{N_THREADS} threads, {fastnn.get_isa()}, median of {arguments.turns} turns\n")
        print(as_markdown(results))
    if shows_memory:
        print(f"\nPeak memory beyond inputs and outputs: {peak_memory():.1f} MiB (at most 64)")


if __name__ == "__main__":
    main()
