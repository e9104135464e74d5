"""A thousand damaged files; benchmarks/fuzz.py makes 50,000."""

from __future__ import annotations

import pytest

from benchmarks import fuzz

READERS = fuzz.readers()


@pytest.mark.parametrize("name", READERS)
def test_a_valid_result_or_the_documented_error(name):
    found = fuzz.run(name, READERS[name], cases=1000 // len(READERS) + 1, seed=2**31)
    assert found["other"] == 0 and found.total() >= 25


def test_something_else_is_noticed():
    with_a_fault = fuzz.Reader({"file": b"1 2 3"}, lambda folder: 1 / 0, (ValueError,), bool)
    assert fuzz.run("faulty", with_a_fault, cases=3, seed=0) == {"other": 3}
    wrong = fuzz.Reader({"file": b"1 2 3"}, lambda folder: 0, (), bool)
    assert fuzz.run("wrong", wrong, cases=3, seed=0) == {"other": 3}
