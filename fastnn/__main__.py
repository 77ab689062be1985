"""The command line: `fastnn demo`, `knn`, `bench` and `info`, also as `python -m fastnn`."""

import argparse
import contextlib
import json
import os
import sys
from pathlib import Path

from ._version import __version__

REQUIRED = ("numpy", "scipy", "scikit-learn", "joblib", "tqdm", "threadpoolctl")
OPTIONAL = ("matplotlib", "faiss-cpu", "scikit-learn-intelex", "torch")

BENCH_SCRIPT = "ratios.py"

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130  # as a shell reports a program that Ctrl-C ended


def main(argv=None):
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Default: the arguments of the process.

    Returns
    -------
    int
        The exit code: 0, 1 where nobody reads the output, 2 for bad input, 130 after Ctrl-C; that
        of the benchmark.

    Raises
    ------
    SystemExit
        For arguments that make no sense (code 2), and after --help and --version (code 0).
    """
    arguments = _build_parser().parse_args(argv)
    try:
        report = arguments.command(arguments)
        if isinstance(report, int):
            return report
        print(json.dumps(report, indent=2) if arguments.json else arguments.format(report))
        sys.stdout.flush()
    except BrokenPipeError:
        # Python flushes once more when it ends, and that must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError) as error:
        print(f"fastnn: error: {' '.join(str(error).split())}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("fastnn: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    return 0


def _build_parser():
    parser = argparse.ArgumentParser(prog="fastnn", description="Exact nearest neighbors, fast.")
    parser.add_argument("--version", action="version", version=f"fastnn {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    demo = commands.add_parser(
        "demo",
        help="classify real images and compare the time with NumPy's",
        description="Choose k, metric and weights on validation images, compare the time of the "
        "search with that of pure NumPy, and try the other models; each is tested once.",
    )
    demo.add_argument(
        "--data",
        metavar="PATH",
        help="folder or archive of CIFAR-10 (default: scikit-learn's handwritten digits)",
    )
    demo.add_argument(
        "--report", metavar="DIR", help="write a page with the tables and pictures to this folder"
    )
    demo.set_defaults(command=_run_demo, format=_format_demo)

    knn = commands.add_parser(
        "knn",
        help="classify the rows of a file by their nearest neighbors",
        description="Classify the rows of QUERIES by the vote of their k nearest rows of TRAIN. "
        "The files are NumPy's (.npy). They need not fit in memory where both hold float32, "
        "float64 or uint8, in C order.",
    )
    knn.add_argument("train", metavar="TRAIN", help="samples, of shape (n_samples, n_features)")
    knn.add_argument("labels", metavar="LABELS", help="their classes, of shape (n_samples,)")
    knn.add_argument("queries", metavar="QUERIES", help="of shape (n_queries, n_features)")
    knn.add_argument("--out", metavar="FILE", required=True, help="file for the predicted classes")
    knn.add_argument("-k", "--n-neighbors", type=int, default=5, metavar="K", help="default: 5")
    knn.add_argument("--metric", default="l2", help="default: l2")
    knn.add_argument(
        "--weights", choices=("uniform", "distance"), default="uniform", help="default: uniform"
    )
    knn.set_defaults(command=_run_knn, format=_format_knn)

    bench = commands.add_parser(
        "bench",
        help="measure this installation against its peers",
        description="Print the table of ratios to the peers that are installed: scikit-learn, "
        "scikit-learn-intelex, faiss, PyTorch, usearch and NumPy.",
    )
    bench.add_argument(
        "--rows", type=_pattern, metavar="PATTERN", help="regular expression on the rows' keys"
    )
    bench.add_argument("--turns", type=_positive, metavar="N", help="turns of each contestant")
    bench.set_defaults(command=_run_bench)

    info = commands.add_parser(
        "info",
        help="show versions, instruction sets and threads",
        description="Show what a report of a problem or of a speed should state.",
    )
    info.set_defaults(command=_collect_info, format=_format_info)

    for command in (demo, knn):
        command.add_argument(
            "--n-jobs", type=int, metavar="N", help="threads (default: all the cores available)"
        )
    for command in (demo, knn, info):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    bench.add_argument("--json", action="store_true", help="print a JSON list of rows")
    return parser


def _pattern(text):
    import re

    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {error}") from None
    return text


def _positive(text):
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 1, got {text!r}")
    return int(text)


def _run_demo(arguments):
    from . import _demo

    return _demo.run(arguments.data, arguments.n_jobs, arguments.report)


def _format_demo(report):
    from . import _demo

    return _demo.format_report(report)


def _run_knn(arguments):
    from . import _files

    return _files.classify(
        arguments.train,
        arguments.labels,
        arguments.queries,
        arguments.out,
        n_neighbors=arguments.n_neighbors,
        metric=arguments.metric,
        weights=arguments.weights,
        n_jobs=arguments.n_jobs,
    )


def _format_knn(report):
    return (
        f"{report['n_queries']:,} queries classified by {report['n_samples']:,} samples in "
        f"{report['seconds']:.2f} s: {report['out']}"
    )


def _run_bench(arguments):
    """Run ratios.py in a process of its own, with this package, and return its exit code."""
    import subprocess

    options = [] if arguments.rows is None else ["--rows", arguments.rows]
    options += [] if arguments.turns is None else ["--turns", str(arguments.turns)]
    options += ["--json"] if arguments.json else []
    package = Path(__file__).resolve().parent
    path = os.pathsep.join([str(package.parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    script = _find_bench(package) / BENCH_SCRIPT
    command = [sys.executable, str(script), *options]
    return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}).returncode


def _find_bench(package):
    """Return the folder of the benchmarks: in the package, or beside it in a checkout."""
    folders = [package / "_bench", package.parent / "bench"]
    for folder in folders:
        if (folder / BENCH_SCRIPT).is_file():
            return folder
    raise FileNotFoundError(
        f"there is no {BENCH_SCRIPT} in {' or '.join(map(str, folders))}: this installation lacks "
        "the benchmarks"
    )


def _collect_info(arguments):
    import platform

    from ._core import _dispatch, _threads

    n_threads, reason = _threads.describe_threads()
    return {
        "fastnn": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "platform": platform.platform(),
        "isas": list(_dispatch.available_isas()),
        "isa": _dispatch.get_isa(),
        "openmp": _threads.openmp_version(),
        "n_threads": n_threads,
        "n_threads_reason": reason,
        "accel": os.environ.get("FASTNN_ACCEL"),
        "packages": _package_versions(),
        "libraries": _loaded_libraries(),
    }


def _package_versions():
    """Return the versions of the packages that matter here; optional ones only where installed."""
    from importlib import metadata

    versions = {}
    for name in REQUIRED + OPTIONAL:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            if name in REQUIRED:
                versions[name] = None
    return versions


def _loaded_libraries():
    """Return the OpenMP and BLAS libraries that a search has in its process."""
    try:
        import threadpoolctl
    except ImportError:  # the versions tell it
        return []
    # Packages that do not fit each other raise anything. What was loaded until then is told.
    with contextlib.suppress(Exception):
        from . import neighbors  # noqa: F401
    return [
        {
            "kind": library["user_api"],
            "file": "/".join(Path(library["filepath"]).parts[-2:]),
            "version": library["version"],
            "n_threads": library["num_threads"],
        }
        for library in threadpoolctl.threadpool_info()
    ]


def _format_info(info):
    lines = {
        "fastnn": info["fastnn"],
        "Python": info["python"],
        "platform": info["platform"],
        "instruction sets": f"{', '.join(info['isas'])} (in use: {info['isa']})",
        "OpenMP": info["openmp"] or "none (of limits, OMP_NUM_THREADS alone is known)",
        "threads": f"{info['n_threads']}: {info['n_threads_reason']}",
        "FASTNN_ACCEL": info["accel"] or "not set",
        "fallbacks": "shown by python -m fastnn.accel --report PROGRAM",
    }
    for name, version in info["packages"].items():
        lines[name] = version or "not found"
    for number, library in enumerate(info["libraries"], 1):
        version = f" {library['version']}" if library["version"] else ""
        lines[f"library {number}"] = (
            f"{library['kind']}{version} with {library['n_threads']}: {library['file']}"
        )
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


if __name__ == "__main__":
    sys.exit(main())
