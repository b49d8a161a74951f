"""Samples for training, validation and test."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import pytest

from aclnet.datasets.spec import AclnetError
from aclnet.runs.splits import (
    Fold,
    choose_splits,
    file_splits,
    fold_splits,
    protocol_splits,
    selection,
)


class FakeStore:
    """The parts of a store that splits use."""

    def __init__(self, columns: dict[str, list], sides: dict[str, list[bool]]) -> None:
        self.columns = {name: np.array(values) for name, values in columns.items()}
        self.splits = {name: np.array(mask) for name, mask in sides.items()}
        self.protocols = list(dict.fromkeys(name.split("/")[0] for name in sides))
        self.default_protocol = self.protocols[0]
        self.path = "made-up.zarr"
        self.class_names = ["sit", "stand"]

    def classes_of(self, _):
        return self.class_names

    def column(self, name):
        return self.columns[name]

    def mask(self, name):
        return self.splits[name]

    def __len__(self):
        return len(self.columns["id"])


@pytest.fixture
def anonymous() -> FakeStore:
    """40 recordings of two classes without subjects, each with a stored variant in training."""
    ids = [f"a{i}" for i in range(40)]
    both = [*ids, *(f"{i}@1" for i in ids[:30])]
    return FakeStore(
        {
            "id": both,
            "original": [*ids, *ids[:30]],
            "variant": [0] * 40 + [1] * 30,
            "label": [i % 2 for i in range(40)] + [i % 2 for i in range(30)],
            "subject": [-1] * 70,
        },
        {
            "own/train": [*([True] * 30), *([False] * 10), *([True] * 30)],
            "own/test": [*([False] * 30), *([True] * 10), *([False] * 30)],
        },
    )


def test_a_protocol_of_the_store(store):
    splits = protocol_splits(store, "xsub", hold_out=False, seed=0)
    assert splits.val is None
    np.testing.assert_array_equal(splits.train, store.mask("xsub/train"))
    np.testing.assert_array_equal(splits.test, store.mask("xsub/test"))
    assert splits.identity.model_dump() == {"protocol": "xsub"}
    assert protocol_splits(store, "", hold_out=False, seed=0).protocol == "xsub"


@pytest.mark.parametrize("seed", range(5))
def test_held_out_are_whole_subjects_of_training(seed, store):
    whole = protocol_splits(store, "xsub", hold_out=False, seed=seed)
    splits = protocol_splits(store, "xsub", hold_out=True, seed=seed)
    subjects = store.column("subject")
    held_out, training = set(subjects[splits.val]), set(subjects[splits.train])
    assert held_out
    assert training
    assert not held_out & training
    np.testing.assert_array_equal(splits.train | splits.val, whole.train)
    assert not (splits.train & splits.val).any()
    np.testing.assert_array_equal(splits.test, whole.test)
    assert splits.val.sum() >= 0.15 * whole.train.sum()
    named = ", ".join(map(str, sorted(held_out)))
    assert splits.identity.model_dump() == {"protocol": "xsub", "held_out": f"subjects {named}"}


def test_who_is_held_out_follows_from_the_seed(store):
    def held_out(seed):
        return protocol_splits(store, "xsub", hold_out=True, seed=seed).identity.held_out

    assert held_out(1) == held_out(1)
    assert len({held_out(seed) for seed in range(20)}) > 1


def test_without_subjects_some_of_each_class_are_held_out(anonymous):
    splits = protocol_splits(anonymous, "own", hold_out=True, seed=0)
    label, variant = anonymous.column("label"), anonymous.column("variant")
    original = anonymous.column("original")
    for c in (0, 1):
        held_out = splits.val & (label == c) & (variant == 0)
        assert held_out.sum() == round(0.15 * 15)
    # a variant goes where its recording goes
    assert not set(original[splits.val]) & set(original[splits.train])
    np.testing.assert_array_equal(splits.train | splits.val, anonymous.mask("own/train"))
    other = protocol_splits(anonymous, "own", hold_out=True, seed=1)
    assert (other.val != splits.val).any()


def test_an_empty_side_proposes_what_to_do(store):
    with pytest.raises(AclnetError, match=r"xview has 0 training.*--protocol xsub.*--split FILE"):
        protocol_splits(store, "xview", hold_out=False, seed=0)
    only = FakeStore({"id": ["a"]}, {"p/train": [True], "p/test": [False]})
    with pytest.raises(AclnetError, match=r"1 training and 0 test samples.*prepare more"):
        protocol_splits(only, "p", hold_out=False, seed=0)
    with pytest.raises(AclnetError, match="no split 'nobody/train'"):
        protocol_splits(store, "nobody", hold_out=False, seed=0)


def folds_of(store, protocol, count, **options):
    options = {"hold_out": False, "seed": 0} | options
    numbers = range(1, count + 1)
    return [fold_splits(store, protocol, Fold(n, count), **options) for n in numbers]


@pytest.mark.parametrize("count", [2, 3, 4])
def test_folds_test_every_training_recording_once_and_nobody_they_train_on(count, store):
    side, subjects = store.mask("xsub/train"), store.column("subject")
    folds = folds_of(store, "xsub", count)
    np.testing.assert_array_equal(sum(f.test.astype(int) for f in folds), side.astype(int))
    for splits in folds:
        assert splits.test.any()
        assert not set(subjects[splits.train]) & set(subjects[splits.test])
        np.testing.assert_array_equal(splits.train, side & ~splits.test)
        assert splits.val is None
    assert len({str(splits.identity) for splits in folds}) == count


def test_as_many_folds_as_subjects_leave_one_out(store):
    subjects = store.column("subject")
    training = sorted(set(subjects[store.mask("xsub/train")].tolist()))
    folds = folds_of(store, "", len(training))
    assert [set(subjects[f.test].tolist()) for f in folds] == [{s} for s in training]
    assert folds[1].identity.model_dump() == {
        "protocol": "xsub-fold2of4",
        "of": "xsub",
        "fold": (2, 4),
        "tested": f"subjects {training[1]}",
    }


def test_a_fold_holds_out_from_what_it_trains(store):
    subjects = store.column("subject")
    for plain, other in zip(
        folds_of(store, "xsub", 2), folds_of(store, "xsub", 2, hold_out=True, seed=5), strict=True
    ):
        np.testing.assert_array_equal(plain.test, other.test)
        np.testing.assert_array_equal(plain.train, other.train | other.val)
        assert other.train.any()
        assert other.val.any()
        assert not set(subjects[other.train]) & set(subjects[other.val])
        assert other.identity.held_out not in (None, other.identity.tested)


def test_variants_go_with_their_originals_to_a_fold(anonymous):
    original = anonymous.column("original")
    anonymous.columns["subject"] = np.array([int(name[1:]) % 5 for name in original])
    side = anonymous.mask("own/train")
    for splits in folds_of(anonymous, "own", 3):
        assert not set(original[splits.train]) & set(original[splits.test])
        assert (anonymous.column("variant")[splits.train] == 1).any()
        np.testing.assert_array_equal(splits.train | splits.test, side)


@pytest.mark.parametrize("count", [1, 5])
def test_folds_that_subjects_do_not_make(count, store):
    with pytest.raises(AclnetError, match=rf"has 4 subjects, which cannot make {count} folds"):
        fold_splits(store, "xsub", Fold(1, count), hold_out=False, seed=0)


def people_of_two_sides(*sides: str) -> FakeStore:
    """Four recordings: two classes train, two others are on all other sides."""
    columns = {"id": [*"abcd"], "original": [*"abcd"], "variant": [0] * 4, "label": [0, 1, 2, 3]}
    masks = {f"gait/{side}": [False, False, True, True] for side in sides}
    masks["gait/train"] = [True, True, False, False]
    return FakeStore(columns | {"subject": [1, 2, 3, 4]}, masks)


def test_people_who_are_to_be_found_in_a_gallery_are_no_test_of_a_classifier(quick, tmp_path):
    strangers = people_of_two_sides("test", "gallery", "probe")
    with pytest.raises(AclnetError, match=r"gait tests classes that no .*retrieval.*--split FILE"):
        choose_splits(strangers, quick())
    with pytest.raises(AclnetError, match="gait-fold1of2 tests classes that no training sample"):
        choose_splits(strangers, quick(), fold=Fold(1, 2))
    file = tmp_path / "own.csv"
    file.write_text("id,split\na,train\nb,test\n")
    with pytest.raises(AclnetError, match=r"own\.csv: own tests classes that no training"):
        choose_splits(strangers, quick(), file)
    strangers.columns["label"][1] = 0
    with pytest.raises(
        AclnetError, match=r"own\.csv: all training samples of own are of one class"
    ):
        choose_splits(strangers, quick(), file)
    file.write_text("id,split\na,train\nc,train\nb,test\n")
    assert choose_splits(strangers, quick(), file).test.tolist() == [False, True, False, False]


def test_probes_without_a_test_side_are_tested_by_their_gallery(quick):
    store = people_of_two_sides("gallery", "probe")
    store.splits["gait/gallery"] = np.array([False, False, True, False])
    splits = choose_splits(store, quick())
    assert splits.test.tolist() == [False, False, True, True]
    assert splits.gallery.tolist() == [False, False, True, False]
    assert splits.identity.model_dump() == {"protocol": "gait", "side": "probe"}
    store.splits["gait/gallery"][:] = False
    with pytest.raises(AclnetError, match="gait/probe is compared with gait/gallery, which has no"):
        choose_splits(store, quick())
    store.splits["gait/probe"] = np.zeros(4, bool)
    with pytest.raises(AclnetError, match="2 training and 0 probe samples"):
        choose_splits(store, quick())


def test_folds_without_subjects(anonymous):
    with pytest.raises(AclnetError, match=r"folds divide the subjects.*--split FILE\.csv"):
        folds_of(anonymous, "own", 2)


def test_folds_in_words():
    assert Fold.parse("2/4") == Fold(2, 4)
    assert str(Fold(2, 4)) == "2/4"
    for text in ("0/4", "5/4", "2", "2/x", "-1/4", "", "1/2/3"):
        with pytest.raises(AclnetError, match="write it as 2/4"):
            Fold.parse(text)


def write(path, *lines):
    path.write_bytes("\n".join(lines).encode())
    return path


def test_sides_of_a_file(store, tmp_path):
    ids = store.column("id")
    lines = [f"{ids[0]}, train,anything", "", f"{ids[3]},val,", f"{ids[5]},test,x"]
    path = write(tmp_path / "fold.csv", "\ufeffid,split,remark", *lines)
    splits = file_splits(store, path)
    for side, row in (("train", 0), ("val", 3), ("test", 5)):
        assert np.flatnonzero(getattr(splits, side)).tolist() == [row]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert splits.identity.model_dump() == {"protocol": "fold", "sha256": digest}
    assert file_splits(store, write(tmp_path / "f.csv", "split,id", f"train,{ids[0]}")).val is None


def test_variants_follow_their_recordings_into_training(anonymous, tmp_path):
    path = write(tmp_path / "f.csv", "id,split", "a0,train", "a1,test", "a2,val")
    splits = file_splits(anonymous, path)
    assert anonymous.column("id")[splits.train].tolist() == ["a0", "a0@1"]
    assert anonymous.column("id")[splits.test].tolist() == ["a1"]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["id,side", "{0},train"], r":1: there is no column split"),
        (["a,b", "{0},train"], r":1: there is no column id and split"),
        ([], r":1: there is no column"),
        (["id,split", "{0},train", "", "nobody,test"], r":4: .*has no sample 'nobody'"),
        (["id,split", "{0},train", "n" * 9999 + ",test"], r"no sample 'n{{100}}\.\.\.'"),
        (["id,split", "{0},train", "{1},dev"], r":3: split 'dev' is none of train, val, test"),
        (["id,split", "{0},train", "{1}"], r":3: split '' is none of"),
        (["id,split", "{0},train", "{0},test"], r":3: '{0}' is already in line 2"),
        (["id,split", "{0},test"], "no row has the split train"),
    ],
)
def test_bad_files_name_the_line(lines, message, store, tmp_path):
    ids = store.column("id")
    path = write(tmp_path / "f.csv", *(line.format(*ids) for line in lines))
    with pytest.raises(AclnetError, match=message.format(*ids)) as error:
        file_splits(store, path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("name", [b"\xff", b"a\x1b[2J", b"a\nb"])
def test_a_file_whose_name_no_run_can_have(tmp_path, store, name):
    path = tmp_path / os.fsdecode(name + b".csv")
    with pytest.raises(AclnetError, match="the name of a run cannot contain the characters"):
        file_splits(store, path)


def test_files_that_cannot_be_read(store, tmp_path):
    with pytest.raises(AclnetError, match=r"gone\.csv cannot be read: No such file"):
        file_splits(store, tmp_path / "gone.csv")
    (tmp_path / "binary.csv").write_bytes(b"id,split\n\xff\xfe,train\n")
    with pytest.raises(AclnetError, match=r"binary\.csv is not a CSV file"):
        file_splits(store, tmp_path / "binary.csv")


@pytest.mark.parametrize(
    ("settings", "select", "held_out", "scored"),
    [
        ((), "last", False, None),
        ((), "val", True, "val"),
        ((), "test", False, "test"),
        (("loss.families.source=val",), "last", True, "val"),
        (("loss.families.source=val",), "val", True, "val"),
        (("loss.families.source=val",), "test", False, "test"),
    ],
)
def test_what_is_scored_after_every_epoch(settings, select, held_out, scored, store, quick):
    config = quick(*settings, select=select)
    splits = choose_splits(store, config, None)
    assert (splits.val is not None) == held_out
    found = selection(config, splits)
    if scored is None:
        assert found is None
    else:
        np.testing.assert_array_equal(found, getattr(splits, scored))


@pytest.mark.parametrize(
    ("settings", "select", "message"),
    [
        ((), "val", r"--select val needs validation samples.*set the split of some rows to val"),
        ((), "test", r"--select test: .*f\.csv has no test sample"),
        (("loss.families.source=val",), "last", r"loss\.families\.source=val needs validation"),
    ],
)
def test_a_file_without_the_side_that_selects(settings, select, message, store, quick, tmp_path):
    path = write(tmp_path / "f.csv", "id,split", f"{store.column('id')[0]},train")
    with pytest.raises(AclnetError, match=message):
        choose_splits(store, quick(*settings, select=select), path)


# People


def crowd(*sides: str) -> FakeStore:
    """Ten people with two recordings each; of the first eight the odd ones train.

    The last two are on all other `sides`.
    """
    ids = [f"{person}{take}" for person in "abcdefghij" for take in "01"]
    label = [row // 2 for row in range(20)]
    columns = {"id": ids, "original": ids, "variant": [0] * 20, "label": label}
    masks = {f"gait/{side}": [number > 7 for number in label] for side in sides}
    masks["gait/train"] = [number < 8 and number % 2 == 1 for number in label]
    store = FakeStore(columns | {"subject": label}, masks)
    store.class_names = [f"person {letter}" for letter in "abcdefghij"]
    return store


@pytest.mark.parametrize("task", ["gait", "reid"])
def test_of_people_the_classes_are_those_who_train(task, quick):
    splits = choose_splits(crowd("test", "gallery", "probe"), quick(f"task={task}"))
    assert splits.classes == ["person b", "person d", "person f", "person h"]
    assert splits.class_of(crowd()).tolist() == [-1, 0, -1, 1, -1, 2, -1, 3, -1, -1]
    # the test side is there too, and of no use to them
    assert splits.identity.model_dump() == {"protocol": "gait", "side": "probe"}
    assert splits.val is None


def test_actions_have_the_classes_of_their_protocol(quick, store):
    splits = choose_splits(store, quick())
    assert splits.class_of(store).tolist() == list(range(60))
    assert splits.gallery is None


def test_people_of_a_protocol_without_gallery_are_compared_with_themselves(quick):
    store = crowd("test")
    splits = choose_splits(store, quick("task=gait"))
    np.testing.assert_array_equal(splits.test, store.mask("gait/test"))
    np.testing.assert_array_equal(splits.gallery, splits.test)
    assert splits.identity.model_dump() == {"protocol": "gait"}
    fold = choose_splits(store, quick("task=reid"), fold=Fold(1, 2))
    np.testing.assert_array_equal(fold.gallery, fold.test)
    assert fold.classes == ["person d", "person h"]


def test_probes_are_compared_with_their_gallery(quick):
    store = crowd("test", "gallery", "probe")
    store.splits["gait/gallery"] = np.array([i == "i0" or i == "j0" for i in store.column("id")])
    store.splits["gait/probe"] = np.array([i == "i1" or i == "j1" for i in store.column("id")])
    splits = choose_splits(store, quick("task=gait"))
    assert store.column("id")[splits.test].tolist() == ["i1", "j1"]
    assert store.column("id")[splits.gallery].tolist() == ["i0", "j0"]


@pytest.mark.parametrize("seed", range(4))
def test_whole_people_are_held_out(seed, quick):
    """By who they are, and not by the subjects, which may be of another kind."""
    store = crowd("gallery", "probe")
    store.columns["subject"] = np.arange(20) % 2
    splits = choose_splits(store, quick("task=gait", seed=seed, select="val"))
    label = store.column("label")
    held_out, training = set(label[splits.val].tolist()), set(label[splits.train].tolist())
    assert held_out
    assert not held_out & training
    assert held_out | training == {1, 3, 5, 7}
    assert splits.val.sum() == 2 * len(held_out)
    names = [store.class_names[number] for number in sorted(held_out)]
    assert splits.identity.held_out == f"people {', '.join(names)}"
    assert splits.classes == [store.class_names[number] for number in sorted(training)]
    classes = splits.class_of(store)
    assert classes[sorted(training)].tolist() == list(range(len(training)))
    assert (classes[sorted(held_out)] == -1).all()


def test_who_of_the_people_is_held_out_follows_from_the_seed(quick):
    def held_out(seed):
        config = quick("task=gait", seed=seed, select="val")
        return choose_splits(crowd("probe", "gallery"), config).identity.held_out

    assert held_out(1) == held_out(1)
    assert len({held_out(seed) for seed in range(12)}) > 1


def test_a_sample_of_a_file_may_be_on_two_sides(quick, tmp_path):
    store = crowd()
    lines = ["a0,train+gallery", "c0,train", "a1,probe", "j0,probe", "e0,val", "e1,val"]
    splits = choose_splits(store, quick("task=reid"), write(tmp_path / "f.csv", "id,split", *lines))
    ids = store.column("id")
    for mask, expected in (
        (splits.train, ["a0", "c0"]),
        (splits.gallery, ["a0"]),
        (splits.test, ["a1", "j0"]),
        (splits.val, ["e0", "e1"]),
    ):
        assert ids[mask].tolist() == expected
    assert splits.classes == ["person a", "person c"]
    assert splits.identity.side == "probe"
    # a test side is what `test` says, and compared with itself
    tested = write(tmp_path / "t.csv", "id,split", "a0,train", "c0,train", "j0,test", "j1,test")
    splits = choose_splits(store, quick("task=reid"), tested)
    assert ids[splits.gallery].tolist() == ids[splits.test].tolist() == ["j0", "j1"]
    assert splits.identity.side is None


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["a0,train", "b0,probe"], r"the rows have the splits probe, train; use either test, or"),
        (["a0,train", "b0,gallery"], "the rows have the splits gallery, train; use either"),
        (
            ["a0,train", "b0,test", "c0,probe", "c1,gallery"],
            "the rows have the splits gallery, probe, test, train; use either",
        ),
        (["a0,train+galery"], r":2: split 'galery' is none of train, val, test, gallery, probe"),
        (["a0,train+"], r":2: split '' is none of"),
    ],
)
def test_sides_of_people_that_do_not_go_together(lines, message, tmp_path):
    with pytest.raises(AclnetError, match=message):
        file_splits(crowd(), write(tmp_path / "f.csv", "id,split", *lines))
