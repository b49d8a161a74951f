"""The stream against a naive gather, and its order as a pure function."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
import zarr

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.datasets.store import keyed_random, machine, stream, zarr_io
from aclnet.datasets.store.plan import AUGMENT, Share
from tests.datasets.store.streams import (
    SAMPLING,
    assert_same,
    count_calls,
    open_stream,
    samples_of,
    threads,
)


@pytest.fixture(scope="module")
def store(people_store):
    return aclnet.open_store(people_store)


# What a batch holds


@pytest.mark.parametrize(
    ("batch_size", "window", "lanes"),
    [(1, 1, 1), (8, 1, 1), (8, 3, 1), (50, None, 1), (8, 2, 4), (50, 12, 5)],
)
def test_batches_are_what_a_naive_gather_gives(people_store, store, window, batch_size, lanes):
    group = zarr.open_group(people_store, mode="r")
    keypoint, present = group["frames/keypoint"][:], group["frames/present"][:]
    index = group["frames/index"][:]
    names = ("start", "n_frames", "n_persons", "label")
    columns = {name: group[f"samples/{name}"][:] for name in names}
    sizes = {"batch_size": batch_size, "window": window, "lanes": lanes}
    batches = list(open_stream(store, motion=True, seed=2, **sizes))
    for batch in batches:
        chosen = SAMPLING(batch.n_frames, batch.key)
        track = 0
        for b, sample in enumerate(batch.sample):
            start, frames, persons, label = (int(columns[name][sample]) for name in names)
            assert (batch.label[b], batch.n_frames[b]) == (label, frames)
            for person in range(persons):
                assert batch.owner[track] == b
                np.testing.assert_array_equal(batch.frame[track], chosen[b])
                for n, frame in enumerate(chosen[b]):
                    row = start + person * frames + frame
                    after = start + person * frames + min(frame + 1, frames - 1)
                    np.testing.assert_array_equal(batch.keypoint[track, n], keypoint[row])
                    np.testing.assert_array_equal(batch.following[track, n], keypoint[after])
                    assert batch.elapsed[track, n] == index[after] - index[row]
                    assert batch.present[track, n] == present[row]
                track += 1
        assert track == len(batch.owner) == len(batch.keypoint)
        assert np.isfinite(batch.keypoint).all()
    assert {int(n) for b in batches for n in np.bincount(b.owner)} == {1, 2}


def test_frames_that_are_not_kept_are_neither_sampled_nor_follow(store):
    """Every third frame and the last one are there."""

    class Kept:
        def count(self, n_frames):
            return np.array([len(self.of(n)) for n in n_frames])

        def __call__(self, n_frames, keys):
            rows = [self.of(n) for n in n_frames]
            return np.array([row + [9999] * (max(map(len, rows)) - len(row)) for row in rows])

        @staticmethod
        def of(n):
            return sorted({*range(0, n, 3), int(n) - 1})

    for batch in open_stream(store, kept=Kept(), motion=True):
        chosen = SAMPLING(Kept().count(batch.n_frames), batch.key)
        for track, b in enumerate(batch.owner):
            person = int((batch.owner[:track] == b).sum())
            sequence = store.sequence(int(batch.sample[b]))
            left = Kept.of(batch.n_frames[b])
            frames = [left[i] for i in chosen[b]]
            after = [left[min(i + 1, len(left) - 1)] for i in chosen[b]]
            assert batch.frame[track].tolist() == frames
            joints, index = sequence.keypoint[person], sequence.frame_index
            np.testing.assert_array_equal(batch.keypoint[track], joints[frames])
            np.testing.assert_array_equal(batch.following[track], joints[after])
            np.testing.assert_array_equal(batch.elapsed[track], index[after] - index[frames])


def test_arrays_have_their_types(store):
    batch = next(iter(open_stream(store)))
    assert batch.keypoint.dtype == np.float32
    assert batch.keypoint.shape == (len(batch.owner), 12, 25, 3)
    assert batch.following is None
    for name in ("frame", "owner", "label", "sample", "n_frames", "key"):
        assert getattr(batch, name).dtype == np.int64, name
    assert batch.present.dtype == bool
    assert len(batch) == 8


@pytest.mark.slow
def test_an_int16_store_streams_float32(people, tmp_path, prepare_raw, store):
    prepare_raw(people, tmp_path / "i.zarr", dtype="int16")
    fixed = list(open_stream(aclnet.open_store(tmp_path / "i.zarr"), seed=1))
    exact = list(open_stream(store, seed=1))
    for a, b in zip(fixed, exact, strict=True):
        assert a.keypoint.dtype == np.float32
        np.testing.assert_allclose(a.keypoint, b.keypoint, atol=2.1e-4)
        np.testing.assert_array_equal(a.sample, b.sample)


def test_scores_are_one_channel_more(pixel_store):
    plain = list(open_stream(pixel_store, "own/train", motion=True))
    for batch, other in zip(
        open_stream(pixel_store, "own/train", motion=True, score=True), plain, strict=True
    ):
        np.testing.assert_array_equal(batch.keypoint[..., :2], other.keypoint)
        for track, owner in enumerate(batch.owner):
            sequence = pixel_store.sequence(batch.sample[owner])
            person = track - int(np.flatnonzero(batch.owner == owner)[0])
            frame = batch.frame[track]
            after = np.minimum(frame + 1, batch.n_frames[owner] - 1)
            np.testing.assert_array_equal(
                batch.keypoint[track, ..., 2], sequence.score[person, frame]
            )
            np.testing.assert_array_equal(
                batch.following[track, ..., 2], sequence.score[person, after]
            )


def test_scores_of_a_store_without_are_refused(store):
    with pytest.raises(AclnetError, match="has no confidences of joints"):
        open_stream(store, score=True)


@pytest.mark.parametrize("persons", [1, 2, 3])
def test_padding_to_a_number_of_persons(store, persons):
    for batch in open_stream(store):
        padded = batch.padded(persons)
        assert padded.shape == (len(batch), persons, 12, 25, 3)
        for b in range(len(batch)):
            own = batch.keypoint[batch.owner == b][:persons]
            np.testing.assert_array_equal(padded[b, : len(own)], own)
            assert not padded[b, len(own) :].any()


def test_a_sampling_beyond_the_end_is_refused_not_read_from_the_neighbour(store):
    def beyond(n_frames, keys):
        return np.stack([n_frames - 1, n_frames], axis=1)

    with pytest.raises(ValueError, match="outside of the sequences"):
        next(iter(open_stream(store, sampling=beyond)))


# The order


def test_without_shuffling_every_sample_comes_once_in_order(store):
    for batch_size in (1, 7, 54, 1000):
        batches = list(open_stream(store, shuffle=False, batch_size=batch_size))
        assert samples_of(batches) == np.flatnonzero(store.mask("xsub/train")).tolist()
        assert [len(b) for b in batches[:-1]] == [batch_size] * (len(batches) - 1)


def test_shuffled_every_sample_comes_once_but_for_the_last_batch(store):
    source = open_stream(store, batch_size=8, window=2)
    assert len(source) == 6
    epochs = [list(source) for _ in range(10)]
    for batches in epochs:
        assert [len(b) for b in batches] == [8] * 6
        seen = samples_of(batches)
        assert len(set(seen)) == 48
        assert store.mask("xsub/train")[seen].all()
    assert len({tuple(samples_of(batches)) for batches in epochs}) == 10
    assert source.epoch == 10
    # what one epoch leaves out, another one has
    assert len({s for batches in epochs for s in samples_of(batches)}) == 54


def test_shuffling_is_no_formality(store):
    order = np.array(samples_of(open_stream(store, batch_size=54)))
    steps = np.abs(np.diff(order))
    assert steps.mean() > 72 / 3 * 0.7  # a random order of 72 rows: 24
    in_windows = np.array(samples_of(open_stream(store, batch_size=54, window=2)))
    assert (np.diff(store.shard_of[in_windows]) == 0).mean() < 0.8
    labels = store.column("label")
    runs = (np.diff(labels[order]) == 0).mean()
    assert runs < 0.6  # a third at random


def test_a_split_smaller_than_a_batch_is_one_batch(store):
    source = open_stream(store, batch_size=1000)
    assert len(source) == 1
    assert sorted(samples_of(source)) == np.flatnonzero(store.mask("xsub/train")).tolist()


@pytest.mark.slow
@pytest.mark.parametrize("reading", [1, 4])
def test_memory_and_threads_change_nothing(store, monkeypatch, reading):
    settings = {"window": 3, "batch_size": 10, "motion": True, "seed": 4}
    source = open_stream(store, **settings)
    wanted = [batch for _ in range(2) for batch in source]
    each = store.shard_rows * (25 * 3 * 4 + 1 + 4)
    shards = len(np.unique(store.shard_of[store.mask("xsub/train")]))
    assert shards > 4
    assert len(source._cache._kept) == shards
    monkeypatch.setattr(stream, "_READ_AHEAD", 1)
    monkeypatch.setattr(stream, "default_threads", lambda _, **__: reading)
    for cache, kept in ((0, 0), (each - 1, 0), (4 * each, 4), (100 * each, shards)):
        source = open_stream(store, cache=cache, **settings)
        assert_same([batch for _ in range(2) for batch in source], wanted)
        assert len(source._cache._kept) == kept


def test_shards_that_were_kept_are_read_once(store, monkeypatch):
    read = []
    monkeypatch.setattr(store, "read_frame_numbers", count_calls(store.read_frame_numbers, read))
    each = store.shard_rows * (25 * 3 * 4 + 1 + 4)
    source = open_stream(store, window=2, cache=3 * each)
    for _ in range(4):
        list(source)
    times = sorted(map(read.count, set(read)))
    assert times[:3] == [1, 1, 1]
    assert times[3] == times[-1] == 4


def test_an_evaluation_keeps_no_shards(store):
    source = open_stream(store, "xsub/test", shuffle=False)
    list(source)
    assert not source._cache._kept


def test_the_default_cache_is_divided_among_the_processes_on_a_machine(store, monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 800)
    found = [
        open_stream(store, share=share)._cache._limit
        for share in (Share(), Share(0, 4), Share(3, 4, nodes=2), Share(0, 4, nodes=4))
    ]
    assert found == [200, 50, 100, 200]
    with pytest.raises(AclnetError, match="cache of -1 bytes"):
        open_stream(store, cache=-1)


def test_the_window_is_a_setting_of_its_own(store):
    one, two = (samples_of(open_stream(store, window=w)) for w in (1, 40))
    assert one != two
    shards = store.shard_of[one]
    assert len(set(shards)) == 1 + np.count_nonzero(np.diff(shards))  # one shard after another


def test_the_default_window_comes_from_the_size_of_shards(store, monkeypatch):
    row_bytes = 25 * 3 * 4
    monkeypatch.setattr(stream, "WINDOW_BYTES", 5 * store.shard_rows * row_bytes + 1)
    assert open_stream(store).window == 5
    monkeypatch.setattr(stream, "WINDOW_BYTES", 1)
    assert open_stream(store).window == 1


@pytest.mark.slow
@pytest.mark.parametrize("shuffle", [True, False])
def test_each_epoch_and_seed_is_the_same_again(store, shuffle):
    def three(seed):
        source = open_stream(store, seed=seed, shuffle=shuffle)
        return [batch for _ in range(3) for batch in source]

    assert_same(three(1), three(1))
    keys = [batch.key for batch in three(1)]
    assert len(np.unique(np.concatenate(keys))) == sum(map(len, keys))
    assert not set(np.concatenate(keys)) & {k for b in three(2) for k in b.key}


def test_a_sample_has_the_same_key_in_whatever_batch_and_window_it_comes(store):
    def keys(**options):
        batches = open_stream(store, "xsub/test", **options)
        return {int(s): int(k) for b in batches for s, k in zip(b.sample, b.key, strict=True)}

    assert keys(batch_size=5, shuffle=False) == keys(batch_size=18, window=2)


# Mistakes and the thread


@pytest.mark.parametrize(
    "options", [{"batch_size": 0}, {"window": 0}, {"window": -1}, {"lanes": 0}, {"repeats": 0}]
)
def test_sizes_below_one_are_refused(store, options):
    with pytest.raises(AclnetError, match="must be 1 or more"):
        open_stream(store, **options)


def test_an_evaluation_repeats_nothing(store):
    with pytest.raises(AclnetError, match="repeats 2: without shuffle, each sample comes once"):
        open_stream(store, shuffle=False, repeats=2)


def test_an_empty_split_is_refused(store):
    with pytest.raises(AclnetError, match="this split has no samples"):
        open_stream(store, np.zeros(72, dtype=bool))


@pytest.mark.parametrize("mask", [np.arange(72), np.ones(71, dtype=bool)])
def test_what_is_no_mask_is_refused(store, mask):
    with pytest.raises(ValueError, match="a mask of 72 bool"):
        open_stream(store, mask)


def test_no_thread_is_left_behind(store):
    source = open_stream(store, window=1)
    for number, _ in enumerate(source):
        if number == 1:
            assert threads()
            break
    assert not threads()
    list(source)
    assert not threads()

    def fail():
        for _ in open_stream(store):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not threads()


def test_batches_of_the_next_iteration_can_be_gathered_before_it(store, monkeypatch):
    wanted, source = open_stream(store, window=1), open_stream(store, window=1)
    gathered, made, planned = threading.Semaphore(0), [], []
    gather, plan_epoch = stream.Stream._gather, stream.plan_epoch

    def told(self, *given):
        made.append(gather(self, *given))
        gathered.release()
        return made[-1]

    def noted(*given, epoch, **more):
        planned.append(epoch)
        return plan_epoch(*given, epoch=epoch, **more)

    first = list(wanted)
    epochs = [first, list(wanted)]
    monkeypatch.setattr(stream.Stream, "_gather", told)
    monkeypatch.setattr(stream, "plan_epoch", noted)
    for epoch, batches in enumerate(epochs):
        source.begin()
        source.begin()
        assert gathered.acquire(timeout=60)
        assert (source.epoch, source.step) == (epoch, 0)
        assert len(source) == len(batches)
        assert_same(list(source), batches)
        assert not threads()
    assert len(made) == len(first) * 2
    assert planned == [0, 1]

    source.begin()
    source.load_state_dict({**source.state_dict(), "epoch": 0, "step": 1})
    assert_same(list(source), first[1:])
    source.begin()
    assert threads()
    source.close()
    source.close()
    assert not threads()
    assert (source.epoch, source.step) == (1, 0)


def test_damage_met_while_reading_reaches_the_loop(people_store, tmp_path):
    shutil.copytree(people_store, tmp_path / "d.zarr")
    store = aclnet.open_store(tmp_path / "d.zarr")
    shard = int(store.shard_of[store.mask("xsub/train")][-1])
    (tmp_path / "d.zarr" / zarr_io.shard_file("frames/keypoint", shard, 3)).unlink()
    with pytest.raises(AclnetError, match=rf"keypoint/c/{shard}/0/0 is missing"):
        list(open_stream(store))
    assert not threads()


@pytest.mark.slow
def test_a_program_ends_with_a_stream_half_read(people_store):
    program = """
import sys, aclnet
stream = aclnet.open_store(sys.argv[1]).stream(
    "xsub/train", batch_size=4, window=1, sampling=aclnet.UniformSampling(8))
iterator = iter(stream)
next(iterator)
print("end")
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(people_store)],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("end\n", "")


def test_keys_are_folded_of_seed_epoch_sample_and_occurrence(store):
    source = open_stream(store, "xsub/test", batch_size=18, seed=7)
    list(source)
    (batch,) = source
    ids = store.column("id")[batch.sample]
    keys = keyed_random.fold(keyed_random.sample_keys(ids), 7, 1, AUGMENT, 0)
    np.testing.assert_array_equal(batch.key, keys)
