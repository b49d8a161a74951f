"""Families as a run recorded them, and the confusions that made them."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib import image

from aclnet.datasets.spec import AclnetError
from aclnet.evaluation.family_table import (
    counted_confusions,
    families_of_scores,
    family_table,
    related_classes,
)
from aclnet.evaluation.figures import draw_affinity, draw_confusion
from aclnet.losses.families import FamilySettings
from aclnet.runs.config import build_config
from aclnet.runs.history import History
from aclnet.runs.scores import Scores


class FakeRun:
    """A run of five classes, the last of them without samples, and four epochs, three trained."""

    class_names = score_names = ("sit", "stand", "walk", "run", "ghost")

    def scores(self, name: str):
        return self.path / f"{name}.npz"

    @property
    def test_scores(self):
        return self.scores("xsub-test")

    def __init__(self, path, *settings: str) -> None:
        self.path = path
        self.config = build_config("default", ["optim.epochs=4", *settings])
        self.history = History(path / "history.zarr")
        self.history.create(4, list(self.class_names))
        rng = np.random.default_rng(0)
        self.train = rng.integers(9, size=(3, 5, 5))
        self.train[:, 4] = 0
        self.eval = rng.integers(9, size=(3, 5, 5))
        member = np.zeros((5, 5), dtype=bool)
        affinity = np.zeros((5, 5), np.float32)
        for a, b, value in ((0, 3, 1.5), (1, 2, 1.0), (0, 1, 0.5), (2, 4, 0.5)):
            member[a, b] = member[b, a] = True
            affinity[a, b] = value
        for epoch in range(3):
            rows = {
                "confusion/train": self.train[epoch],
                "confusion/eval": self.eval[epoch],
                "affinity": affinity * (epoch == 2),
                "family": member & (epoch == 2),
                "temperature": np.full(5, 0.1 * (epoch + 1), np.float32),
            }
            self.history.write(epoch, rows)


def counts(epochs: np.ndarray, weights: list[float]) -> np.ndarray:
    """(C, C) weighted sum of the epochs' confusions, without what is right."""
    total = sum(w * e for w, e in zip(weights, epochs, strict=True))
    return total * (1 - np.eye(5))


@pytest.mark.parametrize(
    ("settings", "kind", "weights"),
    [
        (("loss.families.start=0",), "train", [0.81, 0.9, 1]),
        (("loss.families.start=0.5",), "train", [0, 0.9, 1]),
        (("loss.families.start=0", "loss.families.decay=0.5"), "train", [0.25, 0.5, 1]),
        (("loss.families.start=0", "loss.families.source=val"), "eval", [0.81, 0.9, 1]),
        (("loss.families.start=0", "settings=official"), "train", [1, 1, 1]),
    ],
)
def test_confusions_are_counted_as_the_families_were(settings, kind, weights, tmp_path):
    run = FakeRun(tmp_path, *settings)
    found = counted_confusions(run, 3)
    np.testing.assert_allclose(found, counts(getattr(run, kind), weights))


def test_right_samples_are_no_confusions():
    # the released code takes the two most frequent classes, its own one included
    confusion = np.array([[9, 3, 2, 0], [0, 9, 4, 1], [5, 0, 9, 2], [1, 6, 0, 9]])
    settings = FamilySettings(mode="official", neighbours=2, overlap=2)
    related = related_classes(confusion, settings)
    direct = np.array([[0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 1], [1, 1, 0, 0]])
    np.testing.assert_array_equal(related.affinity >= 0.5, direct)
    assert confusion.diagonal().tolist() == [9] * 4


def test_families_with_names_temperatures_and_confusions(tmp_path):
    run = FakeRun(tmp_path, "loss.families.start=0", "loss.families.decay=1")
    table = family_table(run)
    assert table.epoch == 3
    both = counts(run.train, [1, 1, 1])
    both += both.T
    sit = table.families[0]
    assert sit.name == "sit"
    assert sit.temperature == pytest.approx(0.3)
    wanted = {"stand": both[0, 1], "run": both[0, 3]}
    assert {m.name: m.confusions for m in sit.members} == wanted
    assert [m.confusions for m in sit.members] == sorted(wanted.values(), reverse=True)
    np.testing.assert_array_equal(table.affinity, table.affinity.T)
    assert table.affinity[3, 0] == 1.5


def test_order_leaves_out_who_never_occurs_and_puts_pairs_together(tmp_path):
    table = family_table(FakeRun(tmp_path))
    names = [family.name for family in table.occurring]
    assert sorted(names) == ["run", "sit", "stand", "walk"]
    for pair in (("sit", "run"), ("stand", "walk"), ("sit", "stand")):
        first, second = map(names.index, pair)
        assert abs(first - second) == 1, names
    assert [f["class"] for f in table.as_dict()["families"]] == names
    assert {
        member["class"] for member in table.as_dict()["families"][names.index("walk")]["family"]
    } == {"stand", "ghost"}


def test_epochs(tmp_path):
    run = FakeRun(tmp_path)
    first = family_table(run, 1)
    assert (first.epoch, first.families[0].temperature) == (1, pytest.approx(0.1))
    assert not any(family.members for family in first.families)
    for epoch in (4, 9):
        with pytest.raises(AclnetError, match=f"has trained 3 epochs; there is no epoch {epoch}"):
            family_table(run, epoch)


def test_a_run_that_has_not_trained_an_epoch(tmp_path):
    run = FakeRun(tmp_path / "a")
    run.history = History(tmp_path / "b" / "history.zarr")
    with pytest.raises(AclnetError, match="no epoch has been trained yet"):
        family_table(run)
    (tmp_path / "b").mkdir()
    run.history.create(4, list(run.class_names))
    with pytest.raises(AclnetError, match="has trained 0 epochs"):
        family_table(run)


def test_the_families_of_a_real_run(quick_run, store):
    table = family_table(quick_run)
    assert {f.name for f in table.occurring} == {
        store.class_names[c] for c in np.unique(store.column("label"))
    }
    counter = quick_run.load("last")["network"]["contrast.counter.counts"].numpy()
    np.testing.assert_allclose(counted_confusions(quick_run, 3), counter, rtol=1e-5)
    member = quick_run.history.read("family", -1)
    for c, family in enumerate(table.families):
        assert sorted(m.name for m in family.members) == sorted(
            name for b, name in enumerate(store.class_names) if member[c, b]
        )


@pytest.mark.slow
def test_figures_leave_out_who_never_occurs(tmp_path):
    small = draw_affinity(family_table(FakeRun(tmp_path)), tmp_path / "deep" / "affinity.png")
    confusion = np.zeros((60, 60), dtype=np.int64)
    confusion[:3, :3] = 1
    names = [f"class {c}" for c in range(60)]
    few = draw_confusion(confusion, names, tmp_path / "few.png")
    many = draw_confusion(np.ones_like(confusion), names, tmp_path / "many.png")
    sizes = [image.imread(path).shape[0] for path in (small, few, many)]
    assert sizes[0] < sizes[2] / 2
    assert sizes[1] < sizes[2] / 2


def test_families_of_the_confusions_in_scores(tmp_path):
    """Sit and stand are taken for one another, walk once for run; the ghost never occurs."""
    run = FakeRun(tmp_path)
    taken_for = {0: [0, 0, 1, 1], 1: [1, 0, 0, 0], 2: [2, 2, 2, 3], 3: [3, 3, 3, 3]}
    labels = np.repeat(list(taken_for), 4)
    predicted = np.concatenate(list(taken_for.values()))
    ids = np.array([f"s{n:02}" for n in range(16)])
    Scores(ids, np.eye(5, dtype=np.float32)[predicted], labels).save(run.scores("other"))
    table = families_of_scores(run, "other")
    assert (table.origin, table.epoch) == ("of scores other", None)
    assert sorted(table.order) == [0, 1, 2, 3]
    found = {f.name: {m.name: m.confusions for m in f.members} for f in table.families}
    # one stray confusion makes no family
    alone = {key: {} for key in ("walk", "run", "ghost")}
    assert found == {"sit": {"stand": 5.0}, "stand": {"sit": 5.0}, **alone}
    assert table.affinity[0, 1] == table.affinity[1, 0] == 0.5
    assert all(f.temperature == pytest.approx(0.1) for f in table.families)
    with pytest.raises(AclnetError, match=r"xsub-test\.npz: there are no scores"):
        families_of_scores(run)
