"""How contestants are timed against each other: the engine of ratios.py, without any row.

A row names who does what. Its contestants take turns in one process, with the same number of
threads, and the median of the turns counts.
"""

import importlib
import statistics
import time
from dataclasses import dataclass, field

import joblib
import numpy as np

N_THREADS = min(2, joblib.cpu_count())
PEERS = (
    "scikit-learn",
    "sklearnex",
    "faiss",
    "torch",
    "usearch",
    "usearch on bytes",
    "hnswlib",
    "faiss IVF",
    "faiss HNSW",
    "pynndescent",
    "numpy",
    "pykdtree",
    "scipy",
    "plain Python",
    "map over chunks",
    "ParallelPostFit",
    # What users would do without a feature, with the same library.
    "all samples",
    "a copied subset",
    "a fit on all",
    "its list",
    # A program without fastnn.accel.
    "unchanged",
)
# A peer that takes so many times as long as the best one is not waited for again,
FAR_BEHIND = 3.0
# and one that a target names only if it takes so many seconds a call.
TOO_SLOW = 20.0
# Seconds before each turn. Threads of OpenMP and BLAS spin for a while after their work, OpenBLAS's
# for 0.1 s, and would take the cores from the contestant that is next.
PAUSE = 0.12


@dataclass
class Row:
    """One line of the table: who does what, and what the ratios should be at least."""

    name: str
    # How many times as fast as the best peer, or {peer: how many times as fast as this one}.
    target: float | dict
    contestants: dict = field(default_factory=dict)
    # Contestants that are limits, not peers.
    limits: tuple = ()
    # Compares results with an oracle, and raises if they are wrong.
    check: object = None
    # Calls per turn, for calls too short to time alone; {contestant: calls} where they differ.
    calls: int | dict = 1
    # The most turns, for calls that take many seconds.
    most_turns: int | None = None

    @property
    def named_peers(self):
        """The peers that the target names, installed or not."""
        return tuple(self.target) if isinstance(self.target, dict) else ()


def import_or_none(module):
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


def read_once(values):
    """Read an array once with all threads: BLAS's dot product of the array with itself."""
    flat = values.ravel()
    return lambda: np.dot(flat, flat)


def time_once(row, name):
    call = row.contestants[name]
    calls = row.calls[name] if isinstance(row.calls, dict) else row.calls
    time.sleep(PAUSE)
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def takes_turns(row, name, warm_up):
    """Whether a contestant is worth waiting for, as its time in the warm-up has it."""
    if name not in PEERS:
        return True
    if name in row.named_peers:
        return warm_up[name] <= TOO_SLOW
    return warm_up[name] <= FAR_BEHIND * min(warm_up[peer] for peer in warm_up if peer in PEERS)


def measure(row, turns):
    """Return {contestant: [seconds per call of each turn]}.

    Peers that are far behind the best one in the warm-up sit out the turns and have no times; those
    that a target names have the warm-up's.
    """
    row.check()
    warm_up = {name: time_once(row, name) for name in row.contestants}
    turning = [name for name in warm_up if takes_turns(row, name, warm_up)]
    times = {name: [] for name in turning}
    for _ in range(min(turns, row.most_turns or turns)):
        for name in turning:
            times[name].append(time_once(row, name))
    too_slow = [name for name in row.named_peers if name in warm_up and name not in turning]
    return times | {name: [warm_up[name]] for name in too_slow}


def summarize(row, times):
    medians = {name: statistics.median(values) for name, values in times.items()}
    ours = medians["fastnn"]
    peers = {name: medians[name] for name in medians if name in PEERS}
    best = min(peers, key=peers.get)
    ratio = peers[best] / ours
    # None: not installed.
    ratios = {name: peers[name] / ours if name in peers else None for name in row.named_peers}
    if ratios:
        missed = [name for name in ratios if ratios[name] and ratios[name] < row.target[name]]
    else:
        missed = [best] if ratio < row.target else []
    # Nobody can be done before the slowest of the limits is.
    limit = max(row.limits, key=medians.get, default="")
    return {
        "row": row.name,
        "fastnn_ms": 1e3 * ours,
        "best_peer": best,
        "peer_ms": 1e3 * peers[best],
        "ratio": ratio,
        "ratios": ratios,
        "target": row.target,
        "missed": missed,
        "n_times": {name: len(values) for name, values in times.items()},
        "limit": limit,
        "of_limit": medians[limit] / ours if limit else None,
        "peers_ms": {name: 1e3 * value for name, value in peers.items()},
        "all_ms": {name: 1e3 * value for name, value in medians.items()},
    }


def ratio_cells(result):
    """Return the table's cells "ratio" and "at least".

    Where the target names peers, each of their ratios has its own in parentheses.
    """
    if not result["ratios"]:
        return f"{result['ratio']:.2f}", f"{result['target']:g}"
    ratios = ", ".join(ratio_to_peer(result, name) for name in result["ratios"])
    missed = ", ".join(result["missed"])
    return ratios, f"missed: {missed}" if missed else "reached"


def ratio_to_peer(result, name):
    ratio = result["ratios"][name]
    if ratio is None:
        return f"{name} not installed"
    once = ", timed once" if result["n_times"][name] < result["n_times"]["fastnn"] else ""
    return f"{name} {ratio:.2f} ({result['target'][name]:g}{once})"


def as_markdown(results):
    lines = [
        "| work | fastnn | best peer | ratio | at least | of limit |",
        "|---|---|---|---|---|---|",
    ]
    for r in results:
        ratio, at_least = ratio_cells(r)
        limit = f"{r['of_limit']:.2f} ({r['limit']})" if r["of_limit"] else ""
        lines.append(
            f"| {r['row']} | {r['fastnn_ms']:.4g} ms | {r['peer_ms']:.4g} ms ({r['best_peer']}) "
            f"| {ratio} | {at_least} | {limit} |"
        )
    return "\n".join(lines)
