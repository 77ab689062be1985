"""Some seeds of fuzzing.py; tools/fuzz.py takes as many as wanted."""

import pytest

import fuzzing


@pytest.mark.parametrize("start", range(0, 400, 50))
def test_searches_are_the_oracles(start):
    for seed in range(start, start + 50):
        assert fuzzing.find_error(seed) is None
