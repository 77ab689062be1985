"""Child processes, for what forks, sends signals or might hang: pytest itself does none of it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# Long enough for any machine, and less than pytest's own limit for a test.
SECONDS_UNTIL_A_HANG = 240

# Programs that a shell has started in the background ignore Ctrl-C, and so do their children.
HEAR_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
"""

# Prints "started" once the main thread has stayed at one instruction of fastnn for a while: that is
# the call of a kernel.
TELL_WHEN_IN_A_KERNEL = """
def tell_when_in_a_kernel():
    import sys, threading, time

    def watch(main=threading.main_thread().ident):
        place, looks = None, 0
        while looks < 20:
            time.sleep(0.01)
            frame = sys._current_frames()[main]
            inside = frame.f_globals.get("__name__", "").startswith("fastnn")
            here = (id(frame), frame.f_lasti)
            looks = looks + 1 if inside and here == place else 0
            place = here
            del frame
        print("started", flush=True)

    threading.Thread(target=watch, daemon=True).start()
"""


def start(code):
    """A process of its own group, in which the tests' modules can be imported."""
    path = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path)},
        start_new_session=sys.platform != "win32",
    )


def finish(process):
    """Wait for the end; return the output and the errors."""
    try:
        return process.communicate(timeout=SECONDS_UNTIL_A_HANG)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(AttributeError, ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its children, too, which hold the pipes
        process.kill()
        out, error = process.communicate()
        pytest.fail(f"the child process hangs; it said\n{out}{error}")


def run(code):
    """Run to the end, which has to be status 0; return the output."""
    process = start(code)
    out, error = finish(process)
    assert process.returncode == 0, f"status {process.returncode}\n{out}{error}"
    return out


def interrupt(code, after=None):
    """Send Ctrl-C once the program has printed "started"; return the output after that, the errors.

    The program may call ``tell_when_in_a_kernel()``. With `after`, a pattern, it has to be met in
    the errors before.
    """
    process = start(HEAR_CTRL_C + TELL_WHEN_IN_A_KERNEL + code)
    try:
        assert process.stdout.readline() == "started\n"
        if after:
            errors = iter(process.stderr.readline, "")  # a bar's \r ends a line, too
            assert any(re.search(after, line) for line in errors), f"no {after!r} to the end"
        process.send_signal(signal.SIGINT)
    finally:
        out, error = finish(process)
    return out, error
