"""Training on batches of identities, with consecutive clips and the triplet term."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from aclnet.datasets.store.stream import Stream

SETTINGS = ("data.per_class=2", "data.sampling=consecutive", "loss.triplet=0.5")


@pytest.fixture(scope="module")
def run(train_quickly, tmp_path_factory):
    return train_quickly(tmp_path_factory.mktemp("identities") / "run", *SETTINGS)


@pytest.mark.slow
def test_the_triplet_term_is_part_of_the_loss(run):
    rows = pd.read_csv(run.path / "metrics.csv")
    assert (rows["triplet"] > 0).all()
    terms = rows["cross_entropy"] + 0.1 * (rows["inter"] + rows["intra"]) + 0.5 * rows["triplet"]
    np.testing.assert_allclose(rows["loss"], terms, rtol=1e-5)


def test_without_it_there_is_none(quick_run):
    assert (pd.read_csv(quick_run.path / "metrics.csv")["triplet"] == 0).all()


@pytest.mark.slow
def test_stopped_and_continued_it_ends_the_same(
    run, train_quickly, assert_same_run, stop_at, tmp_path
):
    with pytest.raises(stop_at.Stopped):
        train_quickly(tmp_path / "run", *SETTINGS, progress=stop_at(epochs=1))
    assert_same_run(train_quickly(tmp_path / "run", *SETTINGS), run)


@pytest.mark.slow
def test_batches_are_of_classes_and_clips_of_frames_in_a_row(train_quickly, tmp_path, monkeypatch):
    gather, seen = Stream._gather, {True: [], False: []}

    def spy(self, *arguments):
        batch = gather(self, *arguments)
        seen[self.options.shuffle].append(batch)
        return batch

    monkeypatch.setattr(Stream, "_gather", spy)
    train_quickly(tmp_path / "run", *SETTINGS, "optim.epochs=1")
    for batch in seen[True]:
        assert np.unique(batch.label, return_counts=True)[1].tolist() == [2, 2, 2, 2]
    for batch in seen[True] + seen[False]:
        clips = batch.frame.reshape(-1, 16)
        assert (np.diff(clips, axis=1) == 1).all()
    first = np.concatenate([batch.frame[:, 0] for batch in seen[True]])
    assert len(np.unique(first)) > 5
