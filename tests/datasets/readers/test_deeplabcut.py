"""Tables of DeepLabCut, compared with what pandas reads in them."""

from __future__ import annotations

import contextlib
import io

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers import deeplabcut
from aclnet.datasets.readers.poses import Asked
from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import DamageError
from aclnet.datasets.spec.layouts import layout_of

PARTS = ["snout", "left ear", "right ear"]
LAYOUT = layout_of("mouse", {"joints": ["Right_Ear", "Left_Ear", "Snout"], "parents": [2, 2, None]})


def table(individuals: list[str], frames: int = 4, axes: tuple[str, ...] = deeplabcut._AXES) -> str:
    """The file that pandas writes for a table of DeepLabCut."""
    levels = [["DLC"], individuals, PARTS, axes] if individuals else [["DLC"], PARTS, axes]
    names = [name for name in deeplabcut._HEADER if individuals or name != "individuals"]
    columns = pd.MultiIndex.from_product(levels, names=names)
    values = np.random.default_rng(len(columns)).uniform(0, 640, (frames, len(columns))).round(3)
    values[1, 0] = np.nan
    return pd.DataFrame(values, columns=columns).to_csv()


def parse(text: str, layout=LAYOUT, **asked):
    return deeplabcut.parse(text.encode(), layout, Asked(**asked))


@pytest.mark.parametrize("individuals", [[], ["a"], ["mus1", "mus2"]])
@pytest.mark.parametrize("axes", [("x", "y", "likelihood"), ("x", "y")])
def test_joints_come_by_their_names(individuals, axes):
    text = table(individuals, axes=axes)
    header = [0, 1, 2, 3] if individuals else [0, 1, 2]
    expected = pd.read_csv(io.StringIO(text), header=header, index_col=0)["DLC"]
    poses = parse(text)
    assert poses.identities == (tuple(individuals) if len(individuals) > 1 else ())
    assert (poses.tool, poses.units, poses.frames.tolist()) == ("DeepLabCut", "px", [0, 1, 2, 3])
    for m, who in enumerate(individuals or [""]):
        of_one = expected[who] if individuals else expected
        for v, part in enumerate(PARTS[::-1]):
            found = {"x": poses.keypoint[m, :, v, 0], "y": poses.keypoint[m, :, v, 1]}
            if len(axes) == 3:
                found["likelihood"] = poses.score[m, :, v]
            for axis, column in found.items():
                np.testing.assert_array_equal(column, of_one[part][axis])
    assert (poses.score is None) == (len(axes) == 2)


def test_parts_of_one_individual_and_unknown_layouts():
    """`single` has parts of its own; without a layout all parts are joints, in their order."""
    text = "\n".join(
        [
            "scorer,D,D,D,D",
            "individuals,one,one,single,single",
            "bodyparts,snout,snout,corner,corner",
            "coords,x,y,x,y",
            "5,1,2,3,4",
            "9,5,6,,",
        ]
    )
    poses = parse(text, layout=None)
    nan = float("nan")
    np.testing.assert_array_equal(
        poses.keypoint,
        [[[[1, 2], [nan] * 2], [[5, 6], [nan] * 2]], [[[nan] * 2, [3, 4]], [[nan] * 2] * 2]],
    )
    assert (poses.identities, poses.frames.tolist()) == (("one", "single"), [5, 9])
    only = layout_of("one", {"joints": ["Snout"], "parents": [None]})
    assert parse(text, layout=only).identities == ()
    assert parse(text, layout=None, identities=False).identities == ()


@pytest.mark.parametrize(
    "images", [["labeled-data/day1/img0007.png"], ["labeled-data\\day1\\img0007.png"],
               ["labeled-data", "day1", "img0007.png"]]
)  # fmt: skip
def test_labelled_images_have_the_numbers_in_their_names(images):
    empty = "," * len(images)
    lines = [
        "scorer" + empty + "D,D",
        "bodyparts" + empty + "snout,snout",
        "coords" + empty + "x,y",
    ]
    first = ",".join(images)
    lines += [f"{first},1,2", f"{first.replace('07', '12')},3,4"]
    assert parse("\n".join(lines), layout=None).frames.tolist() == [7, 12]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bodyparts", "parts", "2: the lines `bodyparts` and `coords` must follow `scorer`"),
        ("likelihood", "z", "3: `coords` is z; x, y, likelihood are expected"),
        ("\n2,", "\n2,7,", "6: 11 values, but line 1 has 10"),
        ("\n2,", "\n1,", "6: the frame number does not increase"),
        ("\n2,", "\n2,O", "6: 'O"),
    ],
)
def test_damage_has_its_line(old, new, said):
    with pytest.raises(DamageError) as caught:
        parse(table([]).replace(old, new))
    assert f"{caught.value.line}: {caught.value.reason}".startswith(said)


def test_a_folder_of_tables_is_read(tmp_path):
    (tmp_path / "a.csv").write_text(table(["one", "two"]))
    (tmp_path / "mine.json").write_text(LAYOUT.model_dump_json(exclude={"name"}))
    (tmp_path / "index.csv").write_text("id,file,label,person\na,a.csv,x,1\nb,b.h5,x,\n")
    (tmp_path / "b.h5").write_bytes(b"\x89HDF")
    (tmp_path / "dataset.toml").write_text('layout = "mine.json"')
    source = open_raw(get_dataset("custom"), tmp_path)
    sequence, refused = map(source.read, source.scan()[0])
    assert (source.spec.units, sequence.body_ids) == ("px", ["two"])
    expected = parse(table(["one", "two"])).keypoint[1:]
    np.testing.assert_allclose(sequence.keypoint, np.nan_to_num(expected), rtol=1e-6)
    assert "save_as_csv=True" in refused.reason


CELL = st.sampled_from(["scorer", "bodyparts", "coords", "individuals", "x", "y", "1", "", "a.png"])


@given(st.lists(st.lists(CELL, min_size=1, max_size=4), max_size=6))
def test_any_table_is_poses_or_damage(rows):
    text = "\n".join(",".join(row) for row in [["scorer", "D", "D"], *rows])
    with contextlib.suppress(DamageError):
        assert parse(text, layout=None).keypoint.ndim == 4
