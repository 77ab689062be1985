import logging
import os
from pathlib import Path
from zlib import crc32

import hypothesis
import numpy as np
import pytest

import fastnn
from fastnn import _observation

# Child processes import the same package as the tests, not the sources in the current folder, which
# hold nothing compiled after a plain install.
os.environ["PYTHONSAFEPATH"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(fastnn.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)

# No example is late, whatever else the machine does. CI tries the same examples each time.
patient = hypothesis.settings(
    deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("fastnn", patient)
hypothesis.settings.register_profile(
    "fastnn-ci", patient, derandomize=True, database=None, print_blob=True
)
hypothesis.settings.load_profile("fastnn-ci" if os.environ.get("CI") else "fastnn")

# One that is asked for is tested alone. Tables with quads of bytes differ from those without in
# scans of bytes, which tests/test_quads.py is about; the best of all is what other tests run with.
ISAS = [isa for isa in fastnn.available_isas() if not isa.endswith(("_vnni", "_dotprod"))]
if os.environ.get("FASTNN_ISA"):
    ISAS = [fastnn.get_isa()]


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set of this machine in turn."""
    before = fastnn.get_isa()
    fastnn.set_isa(request.param)
    yield request.param
    fastnn.set_isa(before)


def pytest_addoption(parser):
    parser.addoption(
        "--part",
        metavar="I/N",
        help="run the I-th of N parts of the tests, each with some of every file",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    for item in items:
        if "isa" in getattr(item, "fixturenames", ()):
            item.add_marker("each_isa")
    if config.getoption("--part"):
        part, n_parts = map(int, config.getoption("--part").split("/"))
        # By their names, which does not choose among parameters as their order would.
        chosen = [item for item in items if crc32(item.nodeid.encode()) % n_parts == part - 1]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
        items[:] = chosen


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def fallbacks(caplog):
    """A function that returns the messages logged so far about what went to scikit-learn.

    Each is logged although another test may have met it.
    """
    _observation._log_once.cache_clear()
    caplog.set_level(logging.INFO, logger="fastnn")
    return lambda: [record.getMessage() for record in caplog.records]
