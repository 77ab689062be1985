"""Searches for neighbors: one entry, a planner, and algorithms with one protocol.

| module              | what it does                                                               |
|---------------------|----------------------------------------------------------------------------|
| `searcher`          | the entry: rows in, neighbors out; dtypes are settled here                 |
| `planner`           | which algorithm suits: a pure function of sizes, costs and trials          |
| `costs`             | what steps cost: one model, fitted by tools/fit_costs.py                   |
| `metric_spaces`     | every metric in terms of the kernels' four                                 |
| `protocol`          | what an algorithm provides, and what it gets                               |
| `brute`             | all pairs, tile by tile; serves everything                                 |
| `bounded`           | bounds on the distances of all pairs; serves L1 and L2                     |
| `kd_tree`           | few pairs at all; for few features                                         |
| `ivf`               | the pairs of some lists, as many as a recall below 1 asks for              |

All but the last return the same neighbors and distances, bit for bit.
"""
