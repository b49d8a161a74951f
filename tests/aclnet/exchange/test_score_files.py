"""Score files of other toolkits: rows find their samples, and nothing is guessed."""

from __future__ import annotations

import pickle
import zipfile
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.synth import Request, get_generator
from aclnet.exchange import score_files
from aclnet.exchange.score_files import Order, read_order, read_scores
from aclnet.runs import scores
from aclnet.runs.scores import Scores

if TYPE_CHECKING:
    from pathlib import Path

IDS = ["d", "a", "c", "b"]
SCORES = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0, 0, 1]], np.float32)
ORDER = Order(IDS, None)


def write(path, content, protocol=4):
    path.write_bytes(pickle.dumps(content, protocol))
    return path


def annotations(ids, key="frame_dir"):
    """Scores for class 0, 1, 2, 0, ... in the given order."""
    return [{key: name, "label": number % 3} for number, name in enumerate(ids)]


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("form", [np.asarray, list, lambda rows: rows.astype(np.float16)])
def test_a_result_of_pyskl_in_the_order_of_its_split(form, protocol, tmp_path):
    """`mmcv.dump` writes protocol 2. The order is that of the annotations, not that of the list."""
    everybody = ["d", "x", "a", "y", "c", "b"]
    file = write(
        tmp_path / "annotations.pkl",
        {"split": {"one": ["x"], "two": sorted(IDS)}, "annotations": annotations(everybody)},
        protocol,
    )
    order = read_order(f"{file}:two")
    found = read_scores(write(tmp_path / "result.pkl", form(SCORES), protocol), order)
    assert found.ids.tolist() == ["a", "b", "c", "d"]
    np.testing.assert_allclose(found.scores, SCORES[[1, 3, 2, 0]], atol=1e-3)
    assert found.scores.dtype == np.float32
    wanted = {name: number % 3 for number, name in enumerate(everybody)}
    assert found.labels.tolist() == [wanted[name] for name in found.ids]


def test_filename_is_the_id_where_the_first_annotation_has_it(tmp_path):
    entries = [a | {"frame_dir": "no"} for a in annotations(IDS, "filename")]
    file = write(tmp_path / "a.pkl", {"split": {"s": IDS}, "annotations": entries})
    assert read_order(f"{file}:s").ids == IDS


def test_an_order_of_lines(tmp_path):
    file = tmp_path / "ids:of the test.txt"
    file.write_text("d\n a\r\n\nc\nb\n")
    assert read_order(str(file)) == ORDER


def test_an_npz_with_and_without_labels(tmp_path):
    np.savez(tmp_path / "a.npz", ids=IDS, scores=SCORES.astype(np.float64))
    found = read_scores(tmp_path / "a.npz", None)
    assert found.labels is None
    assert found.ids.tolist() == sorted(IDS)
    np.testing.assert_array_equal(found.scores, SCORES[[1, 3, 2, 0]])
    for dtype in (np.uint8, np.int64, np.float32):
        np.savez(tmp_path / "b.npz", ids=IDS, scores=SCORES, labels=np.array([2, 1, 1, 0], dtype))
        labels = read_scores(tmp_path / "b.npz", None).labels
        assert (labels.tolist(), labels.dtype) == ([1, 0, 1, 2], np.int64)


def test_files_of_another_kind(tmp_path):
    for name, message in (("gone.npz", "gone.npz does not exist"), ("run", "neither a run nor")):
        with pytest.raises(AclnetError, match=message):
            read_scores(tmp_path / name, None)
    for content in (b"", b"PK no zip", b"\x93NUMPY"):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(AclnetError, match="is not an npz of plain arrays"):
            read_scores(tmp_path / "a.npz", None)
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, SCORES)
    with pytest.raises(AclnetError, match="is not an npz of plain arrays"):
        read_scores(tmp_path / "a.npz", None)
    np.savez(tmp_path / "a.npz", names=IDS)
    with pytest.raises(AclnetError, match="has no array ids and no scores"):
        read_scores(tmp_path / "a.npz", None)
    np.savez(tmp_path / "a.npz", ids=np.array(IDS, dtype=object), scores=SCORES)
    with pytest.raises(AclnetError, match="`ids`: an array of object; text is expected"):
        read_scores(tmp_path / "a.npz", None)


class Malicious:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_pickle_runs_nothing(tmp_path):
    file = write(tmp_path / "result.pkl", [Malicious(tmp_path / "trace")])
    with pytest.raises(AclnetError, match="it was not run"):
        read_scores(file, ORDER)
    with pytest.raises(AclnetError, match="it was not run"):
        read_order(f"{file}:test")
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (SCORES[:3], "3 rows of scores for 4 ids"),
        (SCORES[0], r"of shape \(3,\); \(N, classes\) is expected"),
        (SCORES[:, None], r"of shape \(4, 1, 3\)"),
        ([*SCORES[:3], SCORES[0, :2]], "must be numbers"),
        ({"a": SCORES[0], "b": "x"}, "must be numbers"),
        ({1: SCORES[0]}, "ids must be text"),
        ({"test_0": SCORES[0], "test_4": SCORES[0]}, "scores of test_4, but --order has only 4"),
        ([{"pred_score": SCORES[0]}], "with `pred_score` and `gt_label`, as mmaction2's"),
        (np.where(SCORES == 1, np.nan, SCORES), "a score of b is not finite"),
        (np.where(SCORES == 1, np.inf, SCORES), "a score of b is not finite"),
    ],
)
def test_scores_that_are_none(content, message, tmp_path):
    with pytest.raises(AclnetError, match=message):
        read_scores(write(tmp_path / "result.pkl", content), ORDER)


LOGITS = np.random.default_rng(0).normal(0, 4, (4, 3)).astype(np.float32)


def test_scores_by_id_as_ctrgcn_writes_them(tmp_path):
    content = dict(zip(IDS, LOGITS, strict=True))
    found = read_scores(write(tmp_path / "epoch1_test_score.pkl", content), None)
    assert (found.ids.tolist(), found.labels, found.are_logits) == (sorted(IDS), None, True)
    np.testing.assert_array_equal(found.scores, LOGITS[[1, 3, 2, 0]])
    naive = [np.exp(row) / np.exp(row).sum() for row in found.scores.astype(np.float64)]
    np.testing.assert_allclose(found.probabilities().scores, naive, rtol=1e-5)
    assert not found.probabilities().are_logits
    found = read_scores(
        tmp_path / "epoch1_test_score.pkl", Order(["c", "d", "b", "a"], [2, 1, 0, 1])
    )
    assert found.labels.tolist() == [1, 0, 2, 1]


def test_rows_of_ctrgcn_are_places_in_an_order(tmp_path):
    content = {f"test_{row}": LOGITS[row] for row in (2, 0, 3, 1)}
    file = write(tmp_path / "epoch1_test_score.pkl", content)
    with pytest.raises(AclnetError, match=r"test_0, test_1, .* give --labels STORE, .* or --order"):
        read_scores(file, None)
    found = read_scores(file, Order(IDS, [0, 1, 2, 1]))
    np.testing.assert_array_equal(found.scores, LOGITS[[1, 3, 2, 0]])
    assert found.labels.tolist() == [1, 1, 2, 0]


@pytest.mark.slow
def test_rows_of_ctrgcn_are_those_of_a_store_of_its_arrays(tmp_path, prepare_raw, made_up_store):
    """The scores of a row are one-hot of its class in y_test: all are right in the right order."""
    get_generator("custom", "ctr-npz")(tmp_path, Request(sequences=18, subjects=4, seed=1))
    prepare_raw(tmp_path / "mine.npz", tmp_path / "s.zarr", dataset="custom")
    truth = np.load(tmp_path / "mine.npz")["y_test"]
    order = np.random.default_rng(0).permutation(len(truth)).tolist()
    content = {f"test_{row}": 9 * truth[row] - 1 for row in order}
    file = write(tmp_path / "epoch1_test_score.pkl", content)
    found = read_scores(file, None, tmp_path / "s.zarr")
    assert found.ids.tolist() == [f"test-{row:06}" for row in range(len(truth))]
    np.testing.assert_array_equal(found.labels, truth.argmax(axis=1))
    np.testing.assert_array_equal(found.scores.argmax(axis=1), found.labels)
    fewer = write(tmp_path / "fewer.pkl", {name: content[name] for name in list(content)[1:]})
    with pytest.raises(AclnetError, match=f"{len(truth) - 1} rows of x_test, but .*s.zarr was"):
        read_scores(fewer, None, tmp_path / "s.zarr")
    with pytest.raises(AclnetError, match=r"ntu60.zarr was not prepared from these arrays: give"):
        read_scores(file, None, made_up_store)


@pytest.mark.parametrize("old", [False, True])
def test_a_dump_of_mmaction2(tmp_path, old):
    """A dict a sample; the first versions have scores and labels under `item`."""
    labels = [2, 0, 1, 2]
    entries = [
        {"pred_scores": {"item": row}, "gt_labels": {"item": np.array([label])}}
        if old
        else {"pred_score": row, "pred_label": np.array([0]), "gt_label": np.array([label])}
        for row, label in zip(SCORES, labels, strict=True)
    ]
    with pytest.raises(AclnetError, match="does not contain the ids"):
        read_scores(write(tmp_path / "dump.pkl", entries), None)
    found = read_scores(tmp_path / "dump.pkl", ORDER)
    assert (found.labels.tolist(), found.are_logits) == ([0, 2, 1, 2], False)
    named = [entry | {"frame_dir": name} for entry, name in zip(entries, IDS, strict=True)]
    found = read_scores(write(tmp_path / "dump.pkl", named), None)
    np.testing.assert_array_equal(found.scores, SCORES[[1, 3, 2, 0]])


def test_ids_and_labels_that_are_none(tmp_path):
    def refused(message, **arrays):
        np.savez(tmp_path / "a.npz", **{"ids": IDS, "scores": SCORES} | arrays)
        with pytest.raises(AclnetError, match=message):
            read_scores(tmp_path / "a.npz", None)

    refused("sample a occurs twice", ids=["a", "a", "b", "c"])
    refused("`ids`: an array of int64; text is expected", ids=np.arange(4))
    refused(r"4 rows of scores for 4 ids, labels of shape \(3,\)", labels=[0, 1, 2])
    for label in (3, -1, 1.5, np.nan, np.inf):
        refused("the label of a must be a whole number from 0 to 2", labels=[0, label, 1, 2])
    refused("`labels`: an array of <U3; numbers are", labels=["one", "two", "two", "two"])


def announced(folder, name: str, shape: str) -> Path:
    """An npz with one array of so many float32 in its header, and none of them in the file."""
    file = folder / "a.npz"
    np.savez(file, **{"ids": IDS, "scores": SCORES} | {name: np.zeros(1, np.float32)})
    with zipfile.ZipFile(file) as archive:
        members = {member: archive.read(member) for member in archive.namelist()}
    content = members[f"{name}.npy"]
    blanks = b" " * (len(shape) - len("(1,)"))
    changed = content.replace(b"(1,)", shape.encode()).replace(blanks + b"\n", b"\n", 1)
    assert len(changed) == len(content)
    with zipfile.ZipFile(file, "w") as archive:
        for member, data in {**members, f"{name}.npy": changed}.items():
            archive.writestr(member, data)
    return file


@pytest.mark.parametrize("read", [lambda file: read_scores(file, None), Scores.load])
def test_what_is_announced_takes_no_memory(tmp_path, monkeypatch, read):
    """numpy makes room for 4 TB before it reads, and unpacks whatever a member holds."""
    with pytest.raises(AclnetError, match=r"`scores`: the header .* \(1000000, 1000000\)"):
        read(announced(tmp_path, "scores", "(1000000, 1000000)"))
    monkeypatch.setattr(score_files, "MAX_BYTES", 9_000)
    monkeypatch.setattr(scores, "MAX_BYTES", 9_000)
    packed = {"ids": IDS, "scores": np.zeros((4, 10**6), np.float32), "labels": [0] * 4}
    np.savez_compressed(tmp_path / "b.npz", **packed)
    with pytest.raises(AclnetError, match="`scores` is longer than 9,000 bytes"):
        read(tmp_path / "b.npz")


@pytest.mark.parametrize("code", [0xD800, 0x110000])
def test_ids_of_codes_that_are_no_characters(tmp_path, code):
    np.savez(tmp_path / "a.npz", ids=np.array([code] * 4, np.uint32).view("<U1"), scores=SCORES)
    with pytest.raises(AclnetError, match="`ids`: the text has invalid characters"):
        read_scores(tmp_path / "a.npz", None)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=3) | st.sampled_from(["split", "annotations"]), inner)
    ),
    max_leaves=8,
)
annotated = st.fixed_dictionaries(
    {
        "split": plain | st.dictionaries(st.just("s"), plain),
        "annotations": plain
        | st.lists(st.fixed_dictionaries({"frame_dir": plain, "label": plain}), max_size=3),
    }
)


@pytest.mark.slow
@given(plain | annotated)
def test_any_plain_values_are_scores_or_refused(tmp_path_factory, content):
    file = write(tmp_path_factory.getbasetemp() / "any.pkl", content)
    for read in (lambda: read_scores(file, ORDER), lambda: read_order(f"{file}:s")):
        with suppress(AclnetError):
            read()


numbers = arrays(
    st.sampled_from(["f2", "f4", "f8", "i1", "i8", "u8", "?", "U1", "U3", "S2", "c8", "M8[s]"]),
    array_shapes(min_dims=0, min_side=0, max_side=4),
)


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(["ids", "scores", "labels"]), numbers), st.data())
def test_any_npz_is_scores_or_refused(tmp_path_factory, content, data):
    file = tmp_path_factory.getbasetemp() / "any.npz"
    np.savez(file, **content)
    whole = file.read_bytes()
    if data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(whole)))
        file.write_bytes(whole[:place] + data.draw(st.binary(max_size=9)) + whole[place + 9 :])
    for read in (lambda: read_scores(file, None), lambda: Scores.load(file)):
        with suppress(AclnetError):
            read()


@given(st.binary(max_size=99))
def test_any_bytes_are_scores_or_refused(tmp_path_factory, content):
    for suffix in (".npz", ".pkl", ".txt"):
        file = tmp_path_factory.getbasetemp() / f"bytes{suffix}"
        file.write_bytes(content)
        for read in (lambda: read_scores(file, ORDER), lambda: read_order(str(file))):  # noqa: B023
            with suppress(AclnetError):
                read()


def test_a_pickle_needs_an_order(tmp_path):
    file = write(tmp_path / "result.pkl", SCORES)
    with pytest.raises(
        AclnetError,
        match=r"the ids of the samples.*--order "
        r"ANNOTATIONS\.pkl:SPLIT",
    ):
        read_scores(file, None)
    with pytest.raises(AclnetError, match=r"--order .*gone\.txt cannot be read"):
        read_order(str(tmp_path / "gone.txt"))
    with pytest.raises(AclnetError, match="name one of its splits"):
        read_order(str(file))
    with pytest.raises(AclnetError, match="is not a PYSKL pickle of annotations"):
        read_order(f"{file}:test")
    whole = {"split": {"s": IDS, "t": IDS}, "annotations": annotations(IDS)}
    with pytest.raises(AclnetError, match="has no split 'r'; it has s, t"):
        read_order(f"{write(file, whole)}:r")
    for damaged in (
        {"split": {"s": IDS}},
        whole | {"annotations": []},
        whole | {"annotations": [{"label": 1}]},
        whole | {"annotations": [{"frame_dir": "a", "label": "drink"}]},
        annotations(IDS),
    ):
        with pytest.raises(AclnetError, match="is not a PYSKL pickle of annotations"):
            read_order(f"{write(file, damaged)}:s")
