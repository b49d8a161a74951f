"""Streams of a store for tests, and comparisons of their batches."""

from __future__ import annotations

import threading
from dataclasses import fields

import numpy as np

import aclnet
from aclnet.datasets.store.stream import Batch

SAMPLING = aclnet.UniformSampling(12)


def open_stream(store, split="xsub/train", *, batch_size=8, **options):
    sampling = options.pop("sampling", SAMPLING)
    return store.stream(split, batch_size=batch_size, sampling=sampling, **options)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_same(first: list[Batch], second: list[Batch]) -> None:
    assert len(first) == len(second)
    for a, b in zip(first, second, strict=True):
        for field in fields(Batch):
            x, y = getattr(a, field.name), getattr(b, field.name)
            assert (x is None) == (y is None), field.name
            np.testing.assert_array_equal(x, y, err_msg=field.name)


def samples_of(batches) -> list[int]:
    return [int(sample) for batch in batches for sample in batch.sample]


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("aclnet")]


def count_calls(function, calls):
    def counted(shard, **options):
        calls.append(shard)
        return function(shard, **options)

    return counted
