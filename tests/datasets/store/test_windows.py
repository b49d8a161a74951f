"""Reading ahead in a thread: order, errors and the end of the thread."""

from __future__ import annotations

import threading

import pytest

from aclnet.datasets.store.windows import ReadAhead


def test_read_ahead_gives_items_then_the_error():
    def items():
        yield 1
        yield 2
        raise ZeroDivisionError("here")

    got, ahead = [], ReadAhead(items(), 1)
    with pytest.raises(ZeroDivisionError, match="here"):
        got.extend(ahead)
    assert got == [1, 2]
    assert list(ahead) == []


def test_read_ahead_closes_what_it_leaves():
    closed = []

    def items():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    ahead = ReadAhead(items(), 2)
    assert next(ahead) == 0
    ahead.close()
    assert closed == [True]
    assert list(ahead) == []
    assert not [t for t in threading.enumerate() if t.name.startswith("aclnet")]
