"""The figures of a release: measured in one run, kept with their raw numbers, and shown as tables.

    python bench/ratios.py --release docs/figures --machine "AMD EPYC (Zen 5)"
    python bench/ratios.py --markdown docs/figures

The first command measures the rows of `HEADLINES` and of `PROGRAMS`, each with the best
instruction set of this CPU and with AVX2, and writes the raw numbers and the tables of the
documentation to that folder; the second prints the README's table. A test compares all tables with
the raw numbers.
"""

import csv
import datetime
import importlib.metadata
import io
import json
import re
from pathlib import Path

import fastnn
from contest import N_THREADS, measure, summarize

PACKAGES = (
    "numpy",
    "scipy",
    "scikit-learn",
    "scikit-learn-intelex",
    "faiss-cpu",
    "torch",
    "usearch",
    "pykdtree",
    "hnswlib",
    "pynndescent",
    "imbalanced-learn",
    "umap-learn",
)

# By key of a row: what stands in the table.
HEADLINES = {
    "l2": "k-NN, L2 float32, 100,000 x 128, 2,000 queries",
    "l2-f64": "k-NN, L2 float64, 100,000 x 128, 1,000 queries",
    "l1": "k-NN, L1 float32, 100,000 x 128, 500 queries",
    "whole-l2-uint8": "k-NN of CIFAR-10 images, L2 uint8, with fit",
    "whole-l1-uint8": "k-NN of CIFAR-10 images, L1 uint8, with fit",
    "whole-embeddings": "k-NN of embedding-like data, L2, 60,000 x 384, with fit",
    "tree-3": "k-NN, 1,000,000 x 3, as many queries, with fit",
    "tree-radius": "radius graph, 200,000 x 3, with fit",
    "kdtree-periodic": "k-NN in a periodic box, 1,000,000 x 3, with fit",
    "ip": "largest inner products, 100,000 x 128",
    "recall-whole-embeddings": "recall of 0.95, 60,000 x 384, 10,000 queries, with tuning",
    "predict": "`KNeighborsClassifier.predict`, 1 query on 1,000 x 64",
    "select-k": "choosing k from 50 values by cross-validation, 5,000 x 784",
    "impute-100": "`KNNImputer`, 20,000 x 100",
    "pairwise-l1": "pairwise L1, 2,000 x 2,000 x 784",
    "pairwise-l2-pixels-f32": "pairwise L2 float32, 3,000 x 3,000 x 784",
    "linear-softmax": "softmax loss and gradient, 50,000 x 3,072",
    "epoch-uint8": "one epoch of SGD on uint8 images",
    "network-digits": "one epoch of a network on digits",
    "circuit-network": "scalar automatic differentiation, a small network",
}
PROGRAMS = "^program-"
# As their users know them.
NAMES = {
    "numpy": "NumPy",
    "scipy": "SciPy",
    "sklearnex": "scikit-learn-intelex",
    "torch": "PyTorch",
}
# The file with the raw numbers.
RAW = "release.json"


def user_name(peer):
    return NAMES.get(peer, peer)


def release_isas():
    """Return the instruction sets to measure: the best one, and AVX2 where that is another."""
    best = fastnn.get_isa()
    return [best, *({"avx2"} & set(fastnn.available_isas()) - {best})]


def measure_release(rows, turns, machine, report):
    """Measure what is shown, and return it with what it was measured on."""
    chosen = [*HEADLINES, *(key for key in rows if re.search(PROGRAMS, key))]
    results = {}
    for isa in release_isas():
        fastnn.set_isa(isa)
        results[isa] = []
        for key in chosen:
            try:
                row = rows[key]()
            except ImportError as error:
                report(f"{key}: {error}")
                continue
            result = summarize(row, measure(row, turns))
            shown = {
                "key": key,
                "work": HEADLINES.get(key, row.name),
                "best_peer": user_name(result["best_peer"]),
                "peers_ms": {user_name(name): time for name, time in result["peers_ms"].items()},
            }
            results[isa].append(result | shown)
            report(f"{isa} {key}: {results[isa][-1]['ratio']:.2f}")
    return {
        "version": fastnn.__version__,
        "date": datetime.date.today().isoformat(),
        "machine": machine,
        "n_threads": N_THREADS,
        "turns": turns,
        "packages": versions(),
        "results": results,
    }


def versions():
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def read(folder):
    return json.loads(Path(folder, RAW).read_text())


def write(figures, folder):
    Path(folder, RAW).write_text(json.dumps(figures, indent=1) + "\n")
    for name, rows in tables(figures).items():
        Path(folder, name).write_text(as_csv(rows))


def tables(figures):
    """Return {name of a file: rows of its table}."""
    return {"headlines.csv": headlines(figures), "programs.csv": programs(figures)}


def by_key(figures):
    """Return {key of a row: {instruction set: its result}}."""
    found = {}
    for isa, results in figures["results"].items():
        for result in results:
            found.setdefault(result["key"], {})[isa] = result
    return found


def in_digits(ratio):
    """Return a ratio in two digits, as it varies by more from run to run."""
    return f"{ratio:.0f}" if ratio >= 9.95 else f"{ratio:.1f}"


def ratio_to_best(result):
    if result is None:
        return "-"
    return f"{in_digits(result['ratio'])} ({result['best_peer']})"


def headlines(figures):
    """Return how many times as fast as the best peer, with its name, by instruction set."""
    isas = sorted(figures["results"])
    results = by_key(figures)
    rows = [["Work", *isas]]
    for key, text in HEADLINES.items():
        if key in results:
            shown = [results[key].get(isa) for isa in isas]
            rows.append([text, *(ratio_to_best(result) for result in shown)])
    return rows


def programs(figures):
    """Return seconds of whole programs, unchanged and accelerated, the largest gain first."""
    isas = sorted(figures["results"])
    best = next(iter(figures["results"]))
    chosen = [row for key, row in by_key(figures).items() if re.search(PROGRAMS, key)]
    speedups = [f"Times as fast, {isa}" for isa in isas]
    rows = [["Program", "Unchanged", f"Accelerated, {best}", *speedups]]
    for row in sorted(chosen, key=lambda row: -row[best]["ratio"]):
        seconds = [f"{row[best][which] / 1e3:.3g} s" for which in ("peer_ms", "fastnn_ms")]
        ratios = [in_digits(row[isa]["ratio"]) if isa in row else "-" for isa in isas]
        rows.append([row[best]["work"], *seconds, *ratios])
    return rows


def as_csv(rows):
    """Return a table for reStructuredText, where code stands in two backticks."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().replace("`", "``")


def as_markdown(rows):
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join([lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])
