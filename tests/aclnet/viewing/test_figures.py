"""Pictures: how many there are, how large, and what differs."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

import aclnet
from aclnet.datasets.spec import AclnetError
from aclnet.viewing.forms import ViewSettings, view_sample
from aclnet.viewing.writing import default_file, write_view


@pytest.fixture(scope="module")
def view(made_up_store):
    settings = ViewSettings(drop=("hands",), frames=(3, 7), fps=20)
    return view_sample(aclnet.open_store(made_up_store), "S001C001P001R001A050", settings)


def test_an_animation_has_every_frame(view, tmp_path):
    write_view(view, tmp_path / "all.gif")
    with Image.open(tmp_path / "all.gif") as picture:
        assert picture.n_frames == len(view.frames) == 4
        assert picture.info["duration"] == 50
        frames = []
        for number in range(4):
            picture.seek(number)
            frames.append(np.asarray(picture.convert("RGB")))
    assert all((one != other).any() for one, other in pairwise(frames))
    assert not list(tmp_path.glob("*.tmp*"))


def test_a_strip_has_a_row_for_each_form(view, tmp_path):
    write_view(view, tmp_path / "strip.png")
    pixels = np.asarray(Image.open(tmp_path / "strip.png").convert("RGB"))
    # of the colours of the left side, the row without hands has fewest pixels
    blue = (np.abs(pixels.astype(int) - (0x00, 0x72, 0xB2)) < 12).all(-1)
    rows = [part[: int(0.9 * len(part))].sum() for part in np.array_split(blue[:-60], 3)]
    assert min(rows) == rows[2]
    assert rows[2] > 0.3 * rows[1]


def test_without_ffmpeg_there_is_a_remedy(view, tmp_path, monkeypatch):
    from matplotlib.animation import FFMpegWriter

    monkeypatch.setattr(FFMpegWriter, "isAvailable", classmethod(lambda _: False))
    with pytest.raises(AclnetError, match=r"apt install ffmpeg.*or write \.gif or \.html"):
        write_view(view, tmp_path / "all.mp4")
    assert not list(tmp_path.iterdir())


def test_other_endings_are_refused(view, tmp_path):
    with pytest.raises(AclnetError, match=r"x\.pdf: a view is written to \.html, \.png, \.gif or"):
        write_view(view, tmp_path / "x.pdf")


def test_file_names_are_safe(view):
    from dataclasses import replace

    for title, name in (
        ("S001", "S001.html"),
        ("train/../../a b", "train_.._.._a_b.html"),
        ("../x", "_x.html"),
        ("", "recording.html"),
    ):
        assert str(default_file(replace(view, title=title))) == name
