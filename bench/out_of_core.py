"""A search of more samples than memory may hold: what it takes beside reading and searching.

    python bench/out_of_core.py FOLDER [--gigabytes 8] [--limit 2]

Writes random float32 rows of 128 features to .npy files in FOLDER, once. Then three processes of
their own: one reads all files and does nothing else; one searches one file in memory, several times
(the time for all files follows); two search all files for 2,000 queries, k=10, with the
address space limited: `kneighbors_of_blocks`, and `fastnn.dask` with ``persist=False``.
"""

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

D, ROWS_PER_FILE, N_QUERIES, K, BLOCK_ROWS = 128, 1_000_000, 2_000, 10, 1 << 18


def write(folder, n_files):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(n_files):
        path = folder / f"{i:03d}.npy"
        if not path.exists():
            rng = np.random.default_rng(i)
            np.save(path, rng.standard_normal((ROWS_PER_FILE, D), dtype=np.float32))


def queries():
    return np.random.default_rng(9999).standard_normal((N_QUERIES, D), dtype=np.float32)


def blocks(files):
    """Yield copies of some rows at a time, as reading an array does."""
    for path in files:
        rows = np.load(path, mmap_mode="r")
        offset = rows.offset
        for start in range(0, len(rows), BLOCK_ROWS):
            n = min(BLOCK_ROWS, len(rows) - start)
            of_block = np.fromfile(path, np.float32, n * D, offset=offset + start * D * 4)
            yield of_block.reshape(n, D)


def read(files):
    for block in blocks(files):
        block[::512].sum()


def search_in_memory(files):
    """Return the seconds that a search of all files would take, were they in memory."""
    from fastnn.neighbors import NearestNeighbors

    model = NearestNeighbors(n_neighbors=K).fit(np.load(files[0]))
    taken = []
    for _ in range(3):
        start = time.perf_counter()
        model.kneighbors(queries())
        taken.append(time.perf_counter() - start)
    return min(taken) * len(files)


def search_by_blocks(files):
    from fastnn.neighbors import kneighbors_of_blocks

    return kneighbors_of_blocks(queries(), blocks(files), K)


def search_by_dask(files):
    import dask
    import dask.array as da

    from fastnn.dask import NearestNeighbors
    from fastnn.dask._collections import as_rows

    dask.config.set({"array.chunk-size": "128MiB", "scheduler": "threads", "num_workers": 2})
    rows = da.concatenate([as_rows(np.load(path, mmap_mode="r"), "X") for path in files])
    return NearestNeighbors(n_neighbors=K, persist=False).fit(rows).kneighbors(queries())


TASKS = {f.__name__: f for f in (read, search_in_memory, search_by_blocks, search_by_dask)}


def run(task, folder, limit):
    """Run a task in a process of its own; return its seconds and what it used."""
    command = [sys.executable, __file__, str(folder), "--task", task, "--limit", str(limit)]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gigabytes", type=float, default=8.0)
    parser.add_argument("--limit", type=float, default=2.0, help="gigabytes of address space")
    parser.add_argument("--task", choices=list(TASKS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        files = sorted(arguments.folder.glob("*.npy"))
        if arguments.task != "search_in_memory":
            limit = int(arguments.limit * 2**30)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        start = time.perf_counter()
        result = TASKS[arguments.task](files)
        taken = result if isinstance(result, float) else time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
        check = f", sum of indices {result[1].sum()}" if isinstance(result, tuple) else ""
        print(f"{arguments.task}: {taken:.2f} s, at most {peak:.2f} GiB resident{check}")
        return
    write(arguments.folder, max(1, round(arguments.gigabytes * 1e9 / (4 * D * ROWS_PER_FILE))))
    for task in TASKS:
        print(run(task, arguments.folder, arguments.limit), flush=True)


if __name__ == "__main__":
    main()
