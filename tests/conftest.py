import numpy as np
import pytest

import fastnn


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
