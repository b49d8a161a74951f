"""Reasons of rejections."""

from __future__ import annotations

from aclnet.datasets.spec import DamageError


def test_a_reason_is_never_as_long_as_a_file():
    damage = DamageError(f"{'x' * 10**6!r} is not a number", line=3)
    rejection = damage.at("a.csv")
    assert rejection.reason == f"'{'x' * 999}..."
    assert str(damage) == rejection.reason
    assert rejection.line == 3
