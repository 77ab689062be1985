import os
from pathlib import Path

import numpy as np
import pytest

import fastnn

# Child processes import the same package as the tests, not the sources in the current folder, which
# hold nothing compiled after a plain install.
os.environ["PYTHONSAFEPATH"] = "1"
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(Path(fastnn.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
)


@pytest.fixture(params=fastnn.available_isas())
def isa(request):
    """Each instruction set of this machine in turn."""
    before = fastnn.get_isa()
    fastnn.set_isa(request.param)
    yield request.param
    fastnn.set_isa(before)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
