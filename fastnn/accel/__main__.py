"""``python -m fastnn.accel``: run a program with scikit-learn accelerated."""

import argparse
import os
import sys

from . import _program, _report, _workers


def main():
    """Run the program that the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m fastnn.accel",
        usage="%(prog)s [-h] [--report] (PROGRAM | -m MODULE | -c CODE) [ARGS ...]",
        description="Run a Python program with scikit-learn's neighbor searches accelerated.",
    )
    rest = argparse.REMAINDER
    parser.add_argument("--report", action="store_true", help="at the end, say what was done")
    parser.add_argument("-m", nargs=rest, metavar="MODULE", help="run a module or package")
    parser.add_argument("-c", nargs=rest, metavar="CODE", help="run this code")
    parser.add_argument("program", nargs=rest, metavar="PROGRAM", help="a file, folder or zip")
    options = parser.parse_args()
    option = "-m" if options.m is not None else "-c" if options.c is not None else None
    program = options.m or options.c or options.program
    if not program:
        parser.error("PROGRAM is missing")
    if options.report:
        _report.print_at_exit()
    os.environ[_workers.VARIABLE] = "1"
    _workers.install_when_needed()
    try:
        _program.run(program[0], program[1:], option)
    except _program.NoProgram as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        sys.exit(error.status)


if __name__ == "__main__":
    main()
