"""The command line: `fastnn demo` and `fastnn info`, also as `python -m fastnn`."""

import argparse
import json
import os
import sys

from ._version import __version__

REQUIRED = ("numpy", "scipy", "scikit-learn", "tqdm", "threadpoolctl")
OPTIONAL = ("matplotlib", "faiss-cpu", "scikit-learn-intelex", "torch")

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
        The exit code: 0, 1 where nobody reads the output, 2 for bad input, 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        For arguments that make no sense (code 2), and after --help and --version (code 0).
    """
    arguments = _build_parser().parse_args(argv)
    try:
        report = arguments.command(arguments)
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
        description="Choose k, metric and weights on validation images, test the choice once, and "
        "compare the time of the search with that of pure NumPy.",
    )
    demo.add_argument(
        "--data",
        metavar="DIR",
        help="folder of CIFAR-10's python version (default: scikit-learn's handwritten digits)",
    )
    demo.add_argument(
        "--n-jobs", type=int, metavar="N", help="threads (default: all the cores available)"
    )
    demo.set_defaults(command=_run_demo, format=_format_demo)

    info = commands.add_parser(
        "info",
        help="show versions, instruction sets and threads",
        description="Show what a report of a problem or of a speed should state.",
    )
    info.set_defaults(command=_collect_info, format=_format_info)

    for command in (demo, info):
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _run_demo(arguments):
    from . import _demo

    return _demo.run(arguments.data, arguments.n_jobs)


def _format_demo(report):
    from . import _demo

    return _demo.format_report(report)


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
        "packages": _package_versions(),
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


def _format_info(info):
    lines = {
        "fastnn": info["fastnn"],
        "Python": info["python"],
        "platform": info["platform"],
        "instruction sets": f"{', '.join(info['isas'])} (in use: {info['isa']})",
        "OpenMP": info["openmp"] or "none (serial build)",
        "threads": f"{info['n_threads']}: {info['n_threads_reason']}",
    }
    for name, version in info["packages"].items():
        lines[name] = version or "not found"
    width = max(map(len, lines))
    return "\n".join(f"{name:<{width}}  {value}" for name, value in lines.items())


if __name__ == "__main__":
    sys.exit(main())
