from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from aclnet.datasets.readers.ntu import parse_name
from aclnet.datasets.registry import get_dataset
from aclnet.datasets.spec.protocols import SideCount, check_counts, sides

TABLES = Path(__file__).parents[3].parent / "shared" / "tables"


@pytest.fixture
def usable(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """Columns of all usable recordings of `ntu60` or `ntu120`."""
    path = TABLES / f"{request.param}_samples.txt.gz"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    names = [parse_name(stem) for stem in gzip.decompress(path.read_bytes()).decode().split()]
    return {
        "subject": np.array([name.subject for name in names]),
        "camera": np.array([name.camera for name in names]),
        "setup": np.array([name.setup for name in names]),
        "replication": np.array([name.replication for name in names]),
        "label": np.array([name.action for name in names]) - 1,
    }


def counted(dataset: str, columns: dict[str, np.ndarray]) -> tuple[SideCount, ...]:
    protocols = get_dataset(dataset).protocols
    found = {side: int(mask.sum()) for side, mask in sides(protocols, columns).items()}
    return check_counts(protocols, found)


NTU_60 = {
    "xsub/train": 40_091,
    "xsub/test": 16_487,
    "xview/train": 37_646,
    "xview/test": 18_932,
}
NTU_120 = {
    "xsub/train": 63_026,
    "xsub/test": 50_919,
    "xset/train": 54_468,
    "xset/test": 59_477,
    "one-shot/train": 95_001,
    "one-shot/gallery": 20,
    "one-shot/probe": 18_924,
} | {f"ntu60-{side}": count for side, count in NTU_60.items()}


@pytest.mark.parametrize(
    ("usable", "dataset", "expected"),
    [("ntu60", "ntu60", NTU_60), ("ntu120", "ntu120", NTU_120)],
    indirect=["usable"],
)
def test_the_complete_sets_have_the_published_counts(usable, dataset, expected):
    masks = sides(get_dataset(dataset).protocols, usable)
    assert {side: int(mask.sum()) for side, mask in masks.items()} == expected
    counts = counted(dataset, usable)
    assert {count.side: count.expected for count in counts} == expected
    assert {count.verdict for count in counts} == {"complete"}


@pytest.mark.parametrize("usable", ["ntu120"], indirect=True)
def test_a_training_side_and_its_test_side_share_nobody(usable):
    masks = sides(get_dataset("ntu120").protocols, usable)
    for protocol, column in (("xsub", "subject"), ("xset", "setup"), ("ntu60-xview", "camera")):
        train, test = (set(usable[column][masks[f"{protocol}/{s}"]]) for s in ("train", "test"))
        assert train
        assert test
        assert not train & test


@pytest.mark.slow
@pytest.mark.parametrize("usable", ["ntu120"], indirect=True)
def test_one_shot_has_one_exemplar_of_each_class_that_does_not_train(usable):
    masks = sides(get_dataset("ntu120").protocols, usable)
    train, gallery, probe = (masks[f"one-shot/{side}"] for side in ("train", "gallery", "probe"))
    new = list(range(0, 120, 6))
    assert sorted(usable["label"][gallery]) == sorted(set(usable["label"][probe])) == new
    assert set(usable["label"][train]) == set(range(120)) - set(new)
    assert not (gallery & probe).any()
    exemplars = {name: set(usable[name][gallery]) for name in ("camera", "subject", "replication")}
    assert exemplars == {"camera": {3}, "subject": {8}, "replication": {1}}
    assert usable["setup"][gallery].tolist() == [1] * 10 + [18] * 10


def test_one_shot_knows_nothing_of_recordings_without_a_name():
    unknown = dict.fromkeys(("camera", "subject", "setup", "replication"), np.array([-1, -1]))
    masks = sides(get_dataset("ntu120").protocols, unknown | {"label": np.array([0, 1])})
    assert not any(mask.any() for mask in masks.values())


@pytest.mark.parametrize("usable", ["ntu60"], indirect=True)
def test_a_subset_is_said_to_be_one(usable):
    few = {name: column[usable["subject"] != 3] for name, column in usable.items()}
    verdicts = {count.side: count.verdict for count in counted("ntu60", few)}
    assert verdicts == {
        "xsub/train": "complete",
        "xsub/test": "subset",
        "xview/train": "subset",
        "xview/test": "subset",
    }


@pytest.mark.slow
@pytest.mark.parametrize("usable", ["ntu60"], indirect=True)
def test_a_full_set_that_is_shared_out_otherwise_is_wrong(usable):
    moved = usable | {
        "subject": np.where(np.arange(len(usable["label"])) == 0, 3, usable["subject"])
    }
    assert usable["subject"][0] == 1
    verdicts = {count.side: count.verdict for count in counted("ntu60", moved)}
    assert verdicts["xsub/train"] == verdicts["xsub/test"] == "wrong"
    assert verdicts["xview/train"] == verdicts["xview/test"] == "complete"


@pytest.mark.parametrize("usable", ["ntu60"], indirect=True)
def test_unusable_recordings_let_in_are_wrong(usable):
    more = {name: np.append(column, column[:1]) for name, column in usable.items()}
    wrong = [str(count) for count in counted("ntu60", more) if count.verdict == "wrong"]
    assert wrong == ["xsub/train: 40,092 of 40,091 (wrong)", "xview/test: 18,933 of 18,932 (wrong)"]


def test_samples_of_unknown_people_are_on_no_side():
    masks = sides(
        get_dataset("utd-mhad").protocols,
        {"subject": np.array([1, -1, 2]), "label": np.zeros(3, int)},
    )
    assert masks["xsub/train"].tolist() == [True, False, False]
    assert masks["xsub/test"].tolist() == [False, False, True]


def test_sides_that_a_source_defines_are_counted_without_a_verdict():
    counts = check_counts((), {"own/train": 20_484, "own/test": 3})
    assert [(c.side, c.expected, c.found, c.verdict) for c in counts] == [
        ("own/train", None, 20_484, "not published"),
        ("own/test", None, 3, "not published"),
    ]
