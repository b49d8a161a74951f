"""Problems that people reported about arrays, tables and pickles, with inputs of ours."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest

from tests.cli.case_folder import folder


def test_csvheader(tmp_path, problems):
    values = np.random.default_rng(2).normal(size=(10, 60)).round(4)
    sound = "\n".join(",".join(map(str, row)) for row in values.tolist())
    damaged = sound.replace(f"{values[0, 7]}", "O.123", 1)
    blanks = sound.replace(",", " ")
    contents = {"a.csv": damaged, "b.csv": sound, "c.csv": blanks}
    said = problems(folder(tmp_path, contents, toml='layout = "kinect_v1"'))
    assert said["a.csv"] == "'O.123' is not a number, but a header has no numbers"
    assert said["c.csv"] == "the cells are separated by blanks; commas are expected"
    assert "b.csv" not in said


def moving(joints: int, frames: int = 6, dimensions: int = 3) -> np.ndarray:
    """(T, V, C) of somebody who moves."""
    return np.random.default_rng(joints).normal(0, 0.3, (frames, joints, dimensions)).round(4)


def lines(table: np.ndarray, header: str = "", end: str = "") -> str:
    rows = [",".join(map(str, row)) + end for row in table.tolist()]
    return "\n".join([*([header] if header else []), *rows])


def held(store, values: np.ndarray, sample: str = "a") -> None:
    """A store has these joints, but for the place of the body that normalisation took away."""
    found = store.sequence(sample).keypoint[0].astype(np.float64)
    np.testing.assert_allclose(np.ptp(found - values, axis=(0, 1)), 0, atol=1e-5)


def test_05_a_pickle_of_ones_own_keeps_its_classes(aclnet, tmp_path, stored):
    rng = np.random.default_rng(5)
    annotations = [
        {
            "frame_dir": f"mine{n}",
            "label": n % 3,
            "total_frames": 6,
            "img_shape": (480, 640),
            "keypoint": rng.uniform(100, 300, (1, 6, 17, 2)),
            "keypoint_score": np.full((1, 6, 17), 0.9),
        }
        for n in range(9)
    ]
    ids = [entry["frame_dir"] for entry in annotations]
    mine = tmp_path / "mine.pkl"
    content = {"split": {"train": ids[:6], "val": ids[6:]}, "annotations": annotations}
    mine.write_bytes(pickle.dumps(content))
    (tmp_path / "classes.txt").write_text("walk\nsit\nfall\n")
    store = stored(mine)
    assert store.class_names == ["walk", "sit", "fall"]
    labels = dict(zip(store.column("id").tolist(), store.column("label").tolist(), strict=True))
    assert labels == {f"mine{n}": n % 3 for n in range(9)}
    answer = aclnet("prepare", "ntu60", "--raw", mine, "--out", tmp_path / "n.zarr")
    assert (answer.code, "aclnet prepare custom" in answer.words) == (2, True)


@pytest.mark.slow
def test_06_arrays_of_ctrgcn_of_ones_own(tmp_path, stored):
    rng = np.random.default_rng(6)
    arrays = {}
    for side, count in (("train", 6), ("test", 3)):
        arrays[f"x_{side}"] = rng.normal(0, 0.3, (count, 8, 2 * 25 * 3)).astype(np.float32)
        arrays[f"y_{side}"] = np.eye(3, dtype=np.float32)[np.arange(count) % 3]
    np.savez(tmp_path / "mine.npz", **arrays)
    store = stored(tmp_path / "mine.npz")
    assert (len(store), len(store.class_names)) == (9, 3)
    assert store.mask("own/train").sum() == 6


def test_16_a_word_in_each_row_of_a_table(tmp_path, problems, stored):
    """The word is not a column of a joint, and the header names those that are."""
    values = moving(33)
    header = ",".join(f"{axis}{joint}" for joint in range(1, 34) for axis in "xyzv")
    full = np.concatenate([values, np.full((6, 33, 1), 0.98)], axis=2).reshape(6, -1)
    rows = "\n".join(f"Happy,{row}" for row in lines(full).splitlines())
    contents = dict.fromkeys(["a.csv", "b.csv"], f"class,{header}\n{rows}")
    held(stored(folder(tmp_path, contents, toml='layout = "mediapipe"\nunits = "m"')), values)


def test_19_seventeen_joints_of_human36m_are_not_coco(tmp_path, stored):
    raw = folder(tmp_path, {}, toml='layout = "h36m"')
    rows = ["a,a.npy,walk,1,train", "b,b.npy,sit,2,test"]
    (raw / "index.csv").write_text("\n".join(["id,file,label,subject,split", *rows]))
    for name in "ab":
        np.save(raw / f"{name}.npy", moving(17).astype(np.float32))
    store = stored(raw)
    assert (store.layout.name, store.layout.joints[0]) == ("h36m", "Hip")
    held(store, moving(17))


def test_20_recordings_without_the_confidences_that_others_have(tmp_path, problems):
    scored = np.concatenate([100 + 50 * moving(17, 6, 2), np.full((6, 17, 1), 0.9)], axis=2)
    contents = {f"{name}.csv": lines(scored.reshape(6, -1)) for name in "ad"}
    contents |= {f"{name}.csv": lines(scored[..., :2].reshape(6, -1)) for name in "bc"}
    toml = 'layout = "coco"\nunits = "px"'
    said = problems(folder(tmp_path, dict(sorted(contents.items())), toml=toml))
    assert {said["b.csv"], said["c.csv"]} == {"it has no confidences, but other recordings have"}
    assert not {"a.csv", "d.csv"} & said.keys()


def test_21_logits_by_id_are_summed_or_made_probabilities(aclnet, tmp_path):
    rng = np.random.default_rng(21)
    ids, labels = [f"s{n}" for n in range(6)], [n % 3 for n in range(6)]
    logits = [rng.normal(0, 3, (6, 3)).astype(np.float32) for _ in range(2)]
    (tmp_path / "j.pkl").write_bytes(pickle.dumps(dict(zip(ids, logits[0], strict=True))))
    np.savez(tmp_path / "b.npz", ids=ids, scores=logits[1], labels=labels)
    files = [f"j={tmp_path / 'j.pkl'}", f"b={tmp_path / 'b.npz'}"]
    for how, fused in (("logits", sum(logits)), ("probabilities", sum(map(_softmax, logits)))):
        answer = aclnet("ensemble", *files, "--sum", how, "--json")
        assert answer.code == 0, answer.err
        expected = float((fused.argmax(axis=1) == labels).mean())
        assert f'"top1": {expected}' in answer.out, answer.out


def _softmax(rows: np.ndarray) -> np.ndarray:
    return np.exp(rows) / np.exp(rows).sum(axis=1, keepdims=True)


def test_25_empty_cells_are_missing_and_a_lone_nan_is_damage(tmp_path, problems):
    values = 100 + 50 * moving(17, 8, 2)
    sound = lines(values.reshape(8, -1)).splitlines()
    cells = sound[3].split(",")
    empty, alone = [*sound], [*sound]
    empty[3] = ",".join(["", "", *cells[2:]])
    alone[3] = ",".join(["nan", *cells[1:]])
    contents = {"a.csv": "\n".join(sound), "b.csv": "\n".join(empty), "c.csv": "\n".join(alone)}
    raw = folder(tmp_path, contents, toml='layout = "coco"\nunits = "px"')
    said = problems(raw)
    assert said["c.csv"] == "frame 3, Nose: a coordinate is not finite"
    assert not {"a.csv", "b.csv"} & said.keys()
    (raw / "dataset.toml").write_text('layout = "coco"')
    assert 'units = "px"' in problems(raw)["a.csv"]


def test_32_a_column_of_seconds_is_no_coordinate(tmp_path, stored):
    values = moving(20)
    header = ",".join(["time", *(f"j{joint}{axis}" for joint in range(20) for axis in "xyz")])
    table = np.column_stack([np.arange(6) / 30, values.reshape(6, -1)])
    contents = dict.fromkeys(["a.csv", "b.csv"], lines(table, header))
    held(stored(folder(tmp_path, contents, toml='layout = "kinect_v1"')), values)


def test_35_states_of_joints_and_a_comma_at_the_end(tmp_path, stored):
    values = moving(25)
    table = np.concatenate([values, np.full((6, 25, 1), 2)], axis=2).reshape(6, -1)
    contents = dict.fromkeys(["a.csv", "b.csv"], lines(table, end=","))
    raw = folder(tmp_path, contents, toml='layout = "nturgb+d"\nunits = "m"')
    held(stored(raw), values)


# Nothing can be read


def test_each_file_has_its_own_reason_where_none_can_be_read(aclnet, tmp_path, problems):
    contents = {
        "a.json": {"shapes": []},
        "b.json": "[1, 2",
        "c.json": [{"image_id": "x.jpg", "keypoints": [1, 2, 3]}],
        "d.csv": "1,2\n1\n",
        "e.npy": "no array",
    }
    raw = folder(tmp_path, contents)
    said = problems(raw)
    assert {name: said[name][:42] for name in contents} == {
        "a.json": "an object with the keys shapes; this is not"[:42],
        "b.json": "not JSON: Expecting ',' delimiter: line 1 "[:42],
        "c.json": "x.jpg has no frame number; the names of a r"[:42],
        "d.csv": "1 values, but line 1 has 2",
        "e.npy": said["e.npy"][:42],
    }
    assert "numpy" in said["e.npy"].lower() or "npy" in said["e.npy"].lower()
    answer = aclnet("prepare", "custom", "--raw", raw, "--out", tmp_path / "s.zarr")
    assert answer.code == 2
    assert "no recording can be used; the first: a.json: an object with the keys" in answer.words


def test_a_check_answers_programs_whatever_is_wrong(aclnet, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 31, 3)))
    (tmp_path / "index.csv").write_text("id,file,label\na,a.npy,x\n")
    answer = aclnet("prepare", "custom", "--raw", tmp_path, "--check", "--json")
    message = json.loads(answer.out)["error"]["message"]
    assert answer.code == 2
    assert "a.npy has 31 joints, and their layout is not known" in message
    assert "none has so many" in message
    (tmp_path / "index.csv").unlink()
    answer = aclnet("prepare", "custom", "--raw", tmp_path, "--check", "--json")
    assert "has no index.csv" in json.loads(answer.out)["error"]["message"]
