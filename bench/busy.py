"""How calls fare on a machine that others use, too: all threads (the default) against n_jobs=1.

    python bench/busy.py [--loops 0 1 6] [--programs 2 4] [--callers 4] [--after] [--turns N]

Without options, all tables. Each row alternates, in one process, between the default and n_jobs=1,
and gives the ratio of the medians: below 1 a second thread is a gain, above 1 it is a loss. Rows of
programs, which run side by side, give how much they have done together as a share of what they do
with n_jobs=1 each. Peers run with all threads, for comparison.

--loops     beside so many busy loops (processes that never sleep)
--programs  so many programs at a time, each with all cores
--callers   single queries on one model from so many Python threads
--after     right after a product of NumPy, or of PyTorch, in the same process
"""

import argparse
import contextlib
import functools
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
from threadpoolctl import threadpool_limits

SECONDS_OF_PROGRAMS = 1.0


def make_works():
    """Return {name: function of n_jobs that returns the call}."""
    from fastnn import kneighbors, pairwise_distances
    from fastnn.linear_model import SoftmaxClassifier
    from fastnn.losses import linear_loss
    from fastnn.neighbors import KNeighborsClassifier, NearestNeighbors

    rng = np.random.default_rng(0)

    def rows(n, d, dtype=np.float32):
        return rng.random((n, d)).astype(dtype)

    def calls(make_model, call):
        return lambda n_jobs: functools.partial(call, make_model(n_jobs))

    def predict(n_queries, n_samples, d, n_classes=10, dtype=np.float32):
        warnings.filterwarnings("ignore", "The number of unique classes")
        X, Q = rows(n_samples, d, dtype), rows(n_queries, d, dtype)
        y = rng.integers(0, n_classes, n_samples)
        return calls(
            lambda n_jobs: KNeighborsClassifier(5, n_jobs=n_jobs).fit(X, y),
            lambda model: model.predict(Q),
        )

    def tree():
        X, Q = rows(50_000, 3), rows(2000, 3)
        return calls(
            lambda n_jobs: NearestNeighbors(n_neighbors=5, n_jobs=n_jobs).fit(X),
            lambda model: model.kneighbors(Q),
        )

    def radius():
        X = rows(30_000, 3, np.float64)
        return calls(
            lambda n_jobs: NearestNeighbors(radius=0.05, n_jobs=n_jobs).fit(X),
            lambda model: model.radius_neighbors(X[:3000], return_distance=False),
        )

    def epochs():
        X, y = rows(2000, 64), rng.integers(0, 10, 2000)
        return calls(
            lambda n_jobs: SoftmaxClassifier(max_iter=3, tol=None, n_jobs=n_jobs, random_state=0),
            lambda model: model.fit(X, y),
        )

    def long_search():
        X, Q = rows(50_000, 128), rows(2000, 128)
        return lambda n_jobs: lambda: kneighbors(Q, X, 10, algorithm="brute", n_jobs=n_jobs)

    def pairs():
        X = rows(1500, 784)
        return lambda n_jobs: lambda: pairwise_distances(X, X[::-1], "l1", n_jobs=n_jobs)

    def loss():
        W, X, y = rows(10, 3072), rows(256, 3072), rng.integers(0, 10, 256)
        return lambda n_jobs: lambda: linear_loss(W, X, y, "softmax", n_jobs=n_jobs)

    return {
        "predict, 360 queries on 1,077 x 64": predict(360, 1077, 64),
        "predict, 200 queries on 20,000 x 32": predict(200, 20_000, 32),
        "tree, 2,000 queries on 50,000 x 3": tree(),
        "3 epochs of softmax, 2,000 x 64": epochs(),
        "radius, 3,000 queries on 30,000 x 3": radius(),
        "predict with 20,000 classes, 300 queries": predict(300, 30_000, 3, 20_000, np.float64),
        "search, 2,000 queries on 50,000 x 128": long_search(),
        "pairwise l1, 1,500 x 1,500 x 784": pairs(),
        "linear_loss, 256 x 3,072": loss(),
        "predict, 1 query on 1,000 x 64": predict(1, 1000, 64),
    }


# ---- beside busy loops ---------------------------------------------------------------------------


@contextlib.contextmanager
def busy_loops(n):
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(n)]
    time.sleep(0.5 if n else 0.0)
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def take_turns(calls, turns, before=lambda: None):
    """Return {name: median seconds}; `calls` alternate, a few times each in a turn."""
    times = {name: [] for name in calls}
    for call in calls.values():
        call()
        call()
    for _ in range(turns):
        for name, call in calls.items():
            for _ in range(3):
                before()
                start = time.perf_counter()
                call()
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def table_of_loops(numbers, turns):
    works = make_works()
    print("| call | " + " | ".join(f"beside {n}: ms, ratio to n_jobs=1" for n in numbers) + " |")
    print("|---|" + "---|" * len(numbers))
    cells = {name: [] for name in works}
    for n in numbers:
        with busy_loops(n):
            for name, work in works.items():
                medians = take_turns({"default": work(None), "one": work(1)}, turns)
                ratio = medians["default"] / medians["one"]
                cells[name].append(f"{1e3 * medians['default']:.3g}, {ratio:.2f}")
                print(n, name, cells[name][-1], sep=": ", file=sys.stderr, flush=True)
    for name, found in cells.items():
        print(f"| {name} | " + " | ".join(found) + " |")


# ---- side by side --------------------------------------------------------------------------------


def be_a_program(n_jobs):
    """Do what the lines of standard input say, for a while each; print how often that was."""
    works = {name: work(n_jobs) for name, work in make_works().items()}
    for call in works.values():
        call()
    print("ready", flush=True)
    for line in sys.stdin:
        call, n = works[line.strip()], 0
        end = time.perf_counter() + SECONDS_OF_PROGRAMS
        while time.perf_counter() < end:
            call()
            n += 1
        print(n, flush=True)


def start_program(n_jobs):
    command = [sys.executable, __file__, "--be-a-program", str(n_jobs)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def table_of_programs(numbers):
    most = max(numbers)
    programs = {n_jobs: [start_program(n_jobs) for _ in range(most)] for n_jobs in (0, 1)}
    for each in programs.values():
        for program in each:
            program.stdout.readline()

    def throughput(some, name):
        for program in some:
            program.stdin.write(name + "\n")
            program.stdin.flush()
        return sum(int(program.stdout.readline()) for program in some)

    print("| call | one alone | " + " | ".join(f"{n}: runs, share" for n in numbers) + " |")
    print("|---|---|" + "---|" * len(numbers))
    for name in make_works():
        cells = [str(throughput(programs[0][:1], name))]
        for n in numbers:
            found = [[throughput(programs[jobs][:n], name) for jobs in (0, 1)] for _ in range(3)]
            together, one = (sum(column) for column in zip(*found, strict=True))
            cells.append(f"{together // 3}, {together / max(one, 1):.2f}")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)
    for each in programs.values():
        for program in each:
            program.stdin.close()
            program.wait()


def table_of_callers(n_callers, turns):
    """Single queries on one model from several Python threads."""
    work = make_works()["predict, 1 query on 1,000 x 64"]

    def runs(call):
        counts = []

        def caller():
            end, n = time.perf_counter() + SECONDS_OF_PROGRAMS / 2, 0
            while time.perf_counter() < end:
                call()
                n += 1
            counts.append(n)

        threads = [threading.Thread(target=caller) for _ in range(n_callers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts)

    default, one = work(None), work(1)
    found = [(runs(default), runs(one)) for _ in range(turns)]
    together, alone = (statistics.median(column) for column in zip(*found, strict=True))
    print(f"{n_callers} callers of 1 query: {together} runs, {together / alone:.2f} of n_jobs=1")


# ---- after others --------------------------------------------------------------------------------


def table_of_what_comes_before(turns):
    """The same product on one thread leaves the caches alike, and no other thread awake."""
    A = np.random.default_rng(1).random((600, 600), dtype=np.float32)

    def on_one_thread():
        with threadpool_limits(1):
            A @ A

    before = {"NumPy on one thread": on_one_thread, "a product of NumPy": lambda: A @ A}
    with contextlib.suppress(ImportError):
        import torch

        T = torch.from_numpy(A)
        before["a product of PyTorch"] = lambda: T @ T
        before["an addition of PyTorch"] = lambda: T + T
    print("| call, ms | " + " | ".join(f"after {name}" for name in before) + " |")
    print("|---|" + "---|" * len(before))
    for name, work in make_works().items():
        cells, alone = [], None
        for first in before.values():
            seconds = take_turns({"default": work(None)}, turns, first)["default"]
            alone = alone or seconds
            cells.append(f"{1e3 * seconds:.3g} ({seconds / alone:.2f})")
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loops", type=int, nargs="*")
    parser.add_argument("--programs", type=int, nargs="*")
    parser.add_argument("--callers", type=int)
    parser.add_argument("--after", action="store_true")
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--be-a-program", type=int)
    arguments = parser.parse_args()
    if arguments.be_a_program is not None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        be_a_program(arguments.be_a_program or None)
        return
    chosen = [arguments.loops, arguments.programs, arguments.callers, arguments.after or None]
    everything = all(choice is None for choice in chosen)
    print(f"{os.cpu_count()} cores, median of {arguments.turns} turns\n")
    if arguments.loops or everything:
        table_of_loops(arguments.loops or [0, 1, 6], arguments.turns)
        print()
    if arguments.programs or everything:
        table_of_programs(arguments.programs or [2, 4])
        print()
    if arguments.callers or everything:
        table_of_callers(arguments.callers or 4, 5)
        print()
    if arguments.after or everything:
        table_of_what_comes_before(arguments.turns)


if __name__ == "__main__":
    main()
