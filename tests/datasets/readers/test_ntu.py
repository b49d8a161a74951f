from __future__ import annotations

import pickle
import random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers import ntu_text
from aclnet.datasets.readers.ntu import NtuSource, parse_name, unusable
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError, DamageError, Item, Rejection, SkeletonSequence

if TYPE_CHECKING:
    from pathlib import Path

STEM = "S001C002P003R002A013"
FILE = f"{STEM}.skeleton"
BIG = ("72057594037944738", "72057594037944739")  # two ids that are one number as float64


def joint(x: str, y: str, z: str) -> str:
    return f"{x} {y} {z} 336.5 192.8 nan inf -0.22 0.03 0.97 -0.1 2"


def block(body: str, numbers: list[str], joints: int = 25) -> list[str]:
    rows = [joint(*numbers[3 * j : 3 * j + 3]) for j in range(joints)]
    return [f"{body} 0 1 1 1 1 0 0.01 -0.25 2", str(joints), *rows]


def text(frames: list[list[tuple[str, list[str]]]], end: str = "\n") -> bytes:
    """A file of frames, each a list of (body id, 75 numbers as text)."""
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for body, numbers in bodies:
            lines += block(body, numbers)
    return (end.join(lines) + end).encode()


def some_numbers(seed: int, count: int = 75) -> list[str]:
    rng = random.Random(seed)
    forms = ("{:.7g}", "{:.9g}", "{:.3f}", "{:.17g}", "{:.1f}", "{:.0f}", "{:E}")
    return [rng.choice(forms).format(rng.gauss(0, 2)) for _ in range(count)]


TWO_BODIES = [
    [(BIG[0], some_numbers(0))],
    [],
    [(BIG[1], some_numbers(1)), (BIG[0], some_numbers(2))],
    [(BIG[1], some_numbers(3))],
    [(BIG[0], some_numbers(4)), (BIG[1], some_numbers(5))],
]


def read(folder: Path, data: bytes) -> SkeletonSequence | Rejection:
    (folder / FILE).write_bytes(data)
    return NtuSource(get_dataset("ntu60"), folder).read(Item(STEM, FILE, len(data)))


def rejected(folder: Path, data: bytes) -> Rejection:
    result = read(folder, data)
    assert isinstance(result, Rejection)
    assert result.path == FILE
    return result


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_bodies_that_come_and_go_keep_their_ids_and_frames(tmp_path: Path, end: str):
    sequence = read(tmp_path, text(TWO_BODIES, end))
    assert isinstance(sequence, SkeletonSequence)
    assert sequence.body_ids == list(BIG)
    assert sequence.frame_index.tolist() == [0, 2, 3, 4]
    assert sequence.present.tolist() == [[True, True, False, True], [False, True, True, True]]
    assert sequence.keypoint.dtype == np.float32
    places = {0: (0, 0), 1: (1, 1), 2: (0, 1), 3: (1, 2), 4: (0, 3), 5: (1, 3)}
    for seed, (body, frame) in places.items():
        expected = np.array([float(n) for n in some_numbers(seed)]).astype(np.float32)
        assert (sequence.keypoint[body, frame].ravel() == expected).all()
    assert not sequence.keypoint[~sequence.present].any()


def test_metadata_come_from_the_name(tmp_path: Path):
    sequence = read(tmp_path, text(TWO_BODIES))
    assert isinstance(sequence, SkeletonSequence)
    assert (sequence.setup, sequence.camera, sequence.subject) == (1, 2, 3)
    assert (sequence.replication, sequence.label) == (2, 12)
    assert (sequence.sample_id, sequence.source) == (STEM, FILE)


@pytest.mark.slow
@given(
    st.lists(
        st.one_of(
            st.floats(-1e6, 1e6).map(repr),
            st.floats(-10, 10, width=32).map("{:.7g}".format),
            st.decimals(-10, 10, places=8).map("{:f}".format),
            st.from_regex(r"[-+]?[0-9]{0,3}\.?[0-9]{0,12}(E-0[1-9])?", fullmatch=True),
        ),
        min_size=75,
        max_size=75,
    )
)
def test_numbers_are_rounded_as_python_rounds_them(numbers: list[str]):
    data = text([[("1", numbers)]])
    try:
        expected = [float(number) for number in numbers]
    except ValueError:
        assert ntu_text._parse_fast(data) is None
    else:
        blocks = ntu_text._parse_fast(data)
        assert blocks is not None
        assert blocks.xyz.tobytes() == np.array(expected).tobytes()


def test_signs_and_lengths_of_decimals():
    wanted = ["-0.0", "0.00000001", "-9.99999999", "0.123456789", "10.5", "-.5", "5.", "7", "1e-05"]
    numbers = wanted + ["0"] * (75 - len(wanted))
    blocks = ntu_text._parse_fast(text([[("1", numbers)]]))
    assert blocks is not None
    assert blocks.xyz.tobytes() == np.array([float(n) for n in numbers]).tobytes()


# Damage


LINES = text(TWO_BODIES).decode().splitlines()


def changed(line: int, new: str | None) -> bytes:
    """The file with a line (from 1) replaced, or left out."""
    return "\n".join([*LINES[: line - 1], *([] if new is None else [new]), *LINES[line:]]).encode()


@pytest.mark.parametrize(
    ("data", "line", "reason"),
    [
        (b"", None, "empty"),
        (b" \r\n\n", None, "empty"),
        (b"\x80\x00PK\x03\x04", 1, "number of frames"),
        (b"1_0\n", 1, "number of frames"),
        (b"0\n", None, "no body in any frame"),
        (b"3\n0\n0\n0\n", None, "no body in any frame"),
        (b"1000000000000\n0\n", 1, "number of frames"),
        (b"999999999\n0\n", 2, "number of bodies in frame 1"),
        (b"1\n999999999\n", 2, "a body of frame 0"),
        (changed(4, "24"), 4, "24 joints"),
        (changed(8, joint("0.1", "nan", "0.2")), 8, "y of joint 3 is nan"),
        (changed(8, joint("inf", "0", "0.2")), 8, "x of joint 3 is inf"),
        (changed(8, joint("0", "0", "1e39")), 8, "z of joint 3 is 1e+39"),
        (changed(8, joint("0", "1_0", "1")), 8, "x y z of joint 3"),
        (changed(8, joint("0", "0.1.2", "1")), 8, "x y z of joint 3"),
        (changed(8, joint("0", "0,1", "1")), 8, "x y z of joint 3"),
        (changed(8, "0.1 0.2 0.3"), 8, "joint 3: 3 values"),
        (changed(8, ""), 8, "joint 3: 0 values"),
        (changed(8, None), 29, "joint 24: 1 values"),
        (changed(3, "7.2e16 0 1 1 1 1 0 0.01 -0.25 2"), 3, "a body id"),
        (changed(30, "1"), 31, "a body of frame 1"),
        ("\n".join([*LINES, "1"]).encode(), len(LINES) + 1, "after the last frame"),
        ("\n".join(LINES[:-1]).encode(), len(LINES) - 1, "joint 24"),
        ("\n".join(LINES)[:-9].encode(), len(LINES), "joint 24: "),
        (
            text([[("5", some_numbers(0)), ("5", some_numbers(1))]]),
            30,
            "body 5 is in frame 0 twice",
        ),
    ],
)
def test_damage_is_told_with_its_line(tmp_path: Path, data: bytes, line: int, reason: str):
    rejection = rejected(tmp_path, data)
    assert rejection.line == line
    assert reason in rejection.reason


def test_many_bodies_in_many_frames_do_not_fill_the_memory(tmp_path: Path):
    zeros = ["0"] * 75
    data = text([[(str(frame), zeros)] for frame in range(600)])
    assert "600 bodies" in rejected(tmp_path, data).reason


def test_files_that_are_too_long_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(NtuSource, "max_bytes", 10)
    assert "longer than 10 bytes" in rejected(tmp_path, text(TWO_BODIES)).reason


@pytest.mark.parametrize("tail", [b"", b"\n", b"\r\n \n"])
def test_blank_ends_are_no_damage(tmp_path: Path, tail: bytes):
    sequence = read(tmp_path, "\n".join(LINES).encode() + tail)
    assert isinstance(sequence, SkeletonSequence)


mutations = st.lists(
    st.tuples(
        st.integers(0, len(text(TWO_BODIES)) + 50),
        st.integers(0, 3),
        st.one_of(
            st.binary(max_size=3),
            st.sampled_from([b"\n", b"\r", b"\r\n", b" ", b"\t", b"\x00", b"25", b"-", b"_", b"."]),
        ),
    ),
    min_size=1,
    max_size=4,
)


def mutated(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, removed, added in changes:
        data = data[:place] + added + data[place + removed :]
    return data


@given(st.sampled_from(["\n", "\r\n"]), mutations)
def test_the_fast_parser_reads_what_the_strict_one_reads(end: str, changes):
    assert_parsers_agree(mutated(text(TWO_BODIES, end), changes))


@pytest.mark.parametrize("white", [b"\r", b"\t", b"\x0b", b" \r", b"\r\r", b"\n", b"  ", b"\x1c"])
def test_parsers_agree_on_white_space_anywhere_in_a_joint(white: bytes):
    data = text(TWO_BODIES[:1])
    start = data.index(b"25\n") + 3
    for place in range(start, data.index(b"\n", start) + 2):
        assert_parsers_agree(data[:place] + white + data[place:])
        assert_parsers_agree(data[:place] + white + data[place + 1 :])


def assert_parsers_agree(data: bytes) -> None:
    """`_parse_fast` may leave a file to `_parse_strict`, but not read it in another way."""
    fast = ntu_text._parse_fast(data)
    try:
        strict = ntu_text._parse_strict(data)
    except DamageError:
        assert fast is None
    else:
        if fast is not None:
            assert fast[:3] == strict[:3]
            assert fast.xyz.tobytes() == strict.xyz.tobytes()


def test_ordinary_files_take_the_fast_parser():
    for end in ("\n", "\r\n"):
        fast = ntu_text._parse_fast(text(TWO_BODIES, end))
        assert fast is not None
        assert fast.frame == [0, 2, 2, 3, 4, 4]


def test_real_files_are_read_alike_by_both_parsers(real_data: Path):
    for path in sorted((real_data / "ntu_raw").glob("*.skeleton")):
        data = path.read_bytes()
        fast, strict = ntu_text._parse_fast(data), ntu_text._parse_strict(data)
        assert fast is not None
        assert fast[:3] == strict[:3]
        assert fast.xyz.tobytes() == strict.xyz.tobytes()


def test_real_files_hold_what_the_official_code_found(real_data: Path, goldens: Path):
    expected = np.load(goldens / "ntu_preprocess.npz")
    source = NtuSource(get_dataset("ntu60"), real_data / "ntu_raw")
    items, rejections = source.scan()
    assert len(items) == 7
    assert not rejections
    for item in items:
        sequence = source.read(item)
        assert isinstance(sequence, SkeletonSequence)
        assert len(sequence.body_ids) == expected[f"{item.sample_id}/bodies"]


# Names and folders


@pytest.mark.parametrize(
    ("stem", "is_known"),
    [
        ("S032C003P106R002A120", True),
        ("S000C001P001R001A001", False),
        ("S033C001P001R001A001", False),
        ("S001C004P001R001A001", False),
        ("S001C001P107R001A001", False),
        ("S001C001P001R003A001", False),
        ("S001C001P001R001A121", False),
        ("S001C001P001R001A0001", False),
        ("S001C001P001R001A00\u0661", False),
        ("s001c001p001r001a001", False),
    ],
)
def test_names(stem: str, is_known: bool):
    assert (parse_name(stem) is not None) is is_known


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"0\n")


def test_scan_sorts_the_folder_out(tmp_path: Path):
    touch(
        tmp_path,
        "b/S001C001P001R001A002.skeleton",
        "z/deep/S001C001P001R001A001.skeleton",
        "b/S018C001P008R001A061.skeleton",
        "S001C002P005R002A008.skeleton",
        "S001C001P001R001A003.SKELETON",
        "S001C001P001R001A004.txt",
        "S001C001P001R001A121.skeleton",
        "walk.skeleton",
        "c/S001C001P001R001A002.skeleton",
        "README.txt",
        ".DS_Store",
    )
    source = NtuSource(get_dataset("ntu60"), tmp_path)
    items, rejections = source.scan()
    assert items == [
        Item("S001C001P001R001A001", "z/deep/S001C001P001R001A001.skeleton", 2),
        Item("S001C001P001R001A002", "b/S001C001P001R001A002.skeleton", 2),
    ]
    assert source.outside() == 1
    reasons = {rejection.path: rejection.reason for rejection in rejections}
    assert reasons == {
        "S001C002P005R002A008.skeleton": "on NTU's list of unusable recordings",
        "S001C001P001R001A003.SKELETON": "the extension is not .skeleton",
        "S001C001P001R001A004.txt": "the extension is not .skeleton",
        "S001C001P001R001A121.skeleton": "the name does not fit NTU RGB+D (SsssCcccPpppRrrrAaaa)",
        "walk.skeleton": "the name does not fit NTU RGB+D (SsssCcccPpppRrrrAaaa)",
        "c/S001C001P001R001A002.skeleton": (
            "the same recording is at b/S001C001P001R001A002.skeleton"
        ),
    }


def test_the_larger_set_takes_its_own_recordings(tmp_path: Path):
    touch(tmp_path, "S018C001P008R001A061.skeleton", "S001C001P001R001A001.skeleton")
    source = NtuSource(get_dataset("ntu120"), tmp_path)
    assert len(source.scan()[0]) == 2
    assert source.outside() == 0


def test_lists_of_unusable_recordings():
    assert (len(unusable("ntu60")), len(unusable("ntu120"))) == (302, 535)
    assert {stem for stem in unusable("ntu120") if int(stem[-3:]) <= 60} == unusable("ntu60")


def test_sources_and_items_travel_to_workers(tmp_path: Path):
    touch(tmp_path, "S001C001P001R001A001.skeleton")
    source = pickle.loads(pickle.dumps(open_raw(get_dataset("ntu60"), tmp_path)))  # noqa: S301
    items, _ = source.scan()
    assert pickle.loads(pickle.dumps(items)) == items  # noqa: S301
    assert len({*items}) == 1


def test_missing_folders_are_the_users_mistake(tmp_path: Path):
    with pytest.raises(AclnetError, match=r"nowhere does not exist.*ntu60_3danno\.pkl"):
        open_raw(get_dataset("ntu60"), tmp_path / "nowhere")
    with pytest.raises(AclnetError, match="nowhere cannot be read"):
        NtuSource(get_dataset("ntu60"), tmp_path / "nowhere").scan()
