import logging
import os
from pathlib import Path

import numpy as np
import pytest

import fastnn
from fastnn import _drop_in

# Child processes import the same package as the tests, not the sources in the current folder, which
# hold nothing compiled after a plain install.
os.environ["PYTHONSAFEPATH"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(fastnn.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)


# One that is asked for is tested alone.
ISAS = [fastnn.get_isa()] if os.environ.get("FASTNN_ISA") else fastnn.available_isas()


@pytest.fixture(params=ISAS)
def isa(request):
    """Each instruction set of this machine in turn."""
    before = fastnn.get_isa()
    fastnn.set_isa(request.param)
    yield request.param
    fastnn.set_isa(before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def fallbacks(caplog):
    """A function that returns the messages logged so far about what went to scikit-learn.

    Each is logged although another test may have met it.
    """
    _drop_in._log_once.cache_clear()
    caplog.set_level(logging.INFO, logger="fastnn")
    return lambda: [record.getMessage() for record in caplog.records]
