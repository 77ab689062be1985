"""Neighbors among samples in parts, one Ray task for each: the parts' results are merged.

pip install fastnn-kernels ray; python examples/ray_blocks.py
"""

import numpy as np
import ray

import fastnn
from fastnn.neighbors import merge_neighbors

K, ROWS, PARTS = 5, 2000, 4


def load(part):
    """Stand in for whatever reads a part of your samples."""
    return np.random.default_rng(part).standard_normal((ROWS, 16), dtype=np.float32)


# A thread for each task, as Ray runs one on each core.
@ray.remote(num_cpus=1)
def search(queries, part):
    distances, indices = fastnn.kneighbors(queries, load(part), K, n_jobs=1)
    return distances, indices + part * ROWS


def main():
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        queries = np.random.default_rng(99).standard_normal((100, 16), dtype=np.float32)
        shared = ray.put(queries)
        found = ray.get([search.remote(shared, part) for part in range(PARTS)])
    finally:
        ray.shutdown()
    distances, indices = merge_neighbors(*zip(*found, strict=True), K)
    print(f"{len(queries)} queries, {PARTS * ROWS} samples: nearest at {distances[:, 0].min():.3f}")
    return queries, np.concatenate([load(part) for part in range(PARTS)]), distances, indices


if __name__ == "__main__":
    main()
