"""Compare random searches with the oracle, seed after seed: see tests/fuzzing.py.

    python tools/fuzz.py FIRST_SEED N_SEEDS [N_PROCESSES]

Prints each seed that fails and what about it; tests/fuzzing.py's find_error repeats it. The status
is 1 if there was one.
"""

import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from fuzzing import find_error

SEEDS_AT_ONCE = 100


def errors_from(start):
    return [error for seed in range(start, start + SEEDS_AT_ONCE) if (error := find_error(seed))]


def main(first, n_seeds, n_processes=2):
    starts = range(first, first + n_seeds, SEEDS_AT_ONCE)
    n_errors = 0
    with ProcessPoolExecutor(n_processes) as pool:
        for errors in tqdm(pool.map(errors_from, starts), total=len(starts), unit=" x 100"):
            for error in errors:
                tqdm.write(error)
            n_errors += len(errors)
    print(f"{n_errors} of {len(starts) * SEEDS_AT_ONCE} seeds failed")
    return n_errors > 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
