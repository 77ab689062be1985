"""Searches for neighbors: one entry, a planner, and algorithms with one protocol.

::

    samples Y, queries X                     checked by _validation
        |
    searcher  <--- plan ---  planner         sizes, costs, statistics of a sample
        |                       ^
        |                     costs          of this instruction set
        v
    brute    bounded    kd_tree    ivf       built when first needed, and kept:
    panels   codes      boxes      lists     "growing" has one for each block of samples
        |       |          |         |
        v       v          v         v
    _core/search: index, scan, collect, top-k; float64 distances decide
        |
    distances (float64), indices (int64), and which algorithm it was, and why

| module              | what it does                                                               |
|---------------------|----------------------------------------------------------------------------|
| `base`              | what searches of fixed and of growing sets have in common                  |
| `searcher`          | the entry: rows in, neighbors out; dtypes are settled here                 |
| `growing`           | samples that come and go: blocks, each with a searcher                     |
| `merging`           | results of several searches become one                                     |
| `subsets`           | masks and groups of samples                                                |
| `planner`           | which algorithm suits: a pure function of sizes, costs and trials          |
| `costs`             | what steps cost: one model, fitted by tools/fit_costs.py                   |
| `metric_spaces`     | every metric in terms of the kernels' four                                 |
| `protocol`          | what an algorithm provides, and what it gets                               |
| `brute`             | all pairs, tile by tile; serves everything                                 |
| `bounded`           | bounds on the distances of all pairs; serves L1 and L2                     |
| `kd_tree`           | few pairs at all; for few features                                         |
| `ivf`               | the pairs of some lists, as many as a recall below 1 asks for              |

All but the last return the same neighbors and distances, bit for bit. The documentation's page on
the architecture follows one query through them.
"""
