"""Neighbors among samples in parts, which Spark searches and merges in pairs.

pip install fastnn-kernels pyspark; python examples/spark_blocks.py
"""

import numpy as np
from pyspark.sql import SparkSession

import fastnn
from fastnn.neighbors import merge_neighbors

K, ROWS, PARTS = 5, 2000, 4


def load(part):
    """Stand in for whatever reads a part of your samples."""
    return np.random.default_rng(part).standard_normal((ROWS, 16), dtype=np.float32)


def main():
    queries = np.random.default_rng(99).standard_normal((100, 16), dtype=np.float32)

    def search(part):
        distances, indices = fastnn.kneighbors(queries, load(part), K, n_jobs=1)
        return distances, indices + part * ROWS

    def merge(some, others):
        return merge_neighbors(*zip(some, others, strict=True), K)

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    spark = builder.getOrCreate()
    try:
        parts = spark.sparkContext.parallelize(range(PARTS), PARTS)
        distances, indices = parts.map(search).treeReduce(merge)
    finally:
        spark.stop()
    print(f"{len(queries)} queries, {PARTS * ROWS} samples: nearest at {distances[:, 0].min():.3f}")
    return queries, np.concatenate([load(part) for part in range(PARTS)]), distances, indices


if __name__ == "__main__":
    main()
