"""Numbers of frames out of names of images, those of public bug reports among them."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aclnet.datasets.readers.image_names import frame_numbers
from aclnet.datasets.spec import DamageError


def numbers(*images: str) -> list[int]:
    found = frame_numbers(images)
    return [found[image] for image in images]


@pytest.mark.parametrize(
    ("images", "expected"),
    [
        (["0.jpg", "1.jpg", "10.jpg", "2.jpg"], [0, 1, 10, 2]),
        (["out/clip_0007.PNG", "out/clip_0012.PNG"], [7, 12]),
        (["v1.2_take 3 (1).png", "v1.2_take 3 (2).png"], [1, 2]),
        (["12_rendered.png", "9_rendered.png"], [12, 9]),
        (["000010_score87.jpg", "000011_score12.jpg", "000012_score87.jpg"], [10, 11, 12]),
        (["shot1_0001", "shot1_0002", "shot2_0003"], [1, 2, 3]),
        (["only_one_5.jpg"], [5]),
        # times: their order alone
        (["0.5.jpg", "1.0.jpg", "1.5.jpg"], [0, 1, 2]),
        (["0.75.jpg", "0.8.jpg"], [0, 1]),
        (["0.25.jpg", "0.5.jpg"], [0, 1]),
        (["1.9.jpg", "1.10.jpg"], [0, 1]),
        (["10_59_59.jpg", "11_00_00.jpg"], [0, 1]),
        (["T10_00_01.700000.png", "T10_00_02.100000.png", "T10_00_01.900000.png"], [0, 2, 1]),
        (["1577872801700000.png", "1577872801900000.png"], [0, 1]),
        (["2020-01-01 10-00-01.jpg", "2020-01-01 10-01-01.jpg"], [0, 1]),
    ],
)
def test_names_are_numbered(images, expected):
    assert numbers(*images) == expected


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (["cam1_0000.jpg", "cam1_0001.jpg", "cam2_0000.jpg", "cam2_0001.jpg"], "cam1_0000.jpg and"),
        (["f_1.png", "f_2.png", "f_2 (1).png"], "f_1.png and f_2 (1).png are named differently"),
        (["1.jpg", "01.jpg"], "1.jpg and 01.jpg both have the frame number 1"),
        (["1.jpg", "1.png"], "1.jpg and 1.png both have the frame number 1"),
        (["2_0001.jpg", "1_0002.jpg", "2_0003.jpg", "1_0004.jpg"], "order"),
        (["0.5.jpg", "1.25.jpg", "1.5.jpg", "0.75.jpg"], "order"),
        (["a.jpg"], "a.jpg has no frame number"),
        (["1" * 5000], "the name has 5,000 characters"),
    ],
)
def test_names_that_do_not_tell_are_refused(images, said):
    with pytest.raises(DamageError) as caught:
        frame_numbers(images)
    assert said in caught.value.reason


@given(
    start=st.datetimes(datetime(2000, 1, 1), datetime(2099, 1, 1)),
    steps=st.lists(st.integers(1, 10**9), min_size=1, max_size=20),
    form=st.sampled_from(["%Y-%m-%dT%H_%M_%S.%f", "%H-%M-%S.%f", "%Y%m%d%H%M%S%f"]),
    data=st.data(),
)
def test_times_are_in_the_order_of_the_clock(start, steps, form, data):
    """Whatever the order of the file; within one day where the name has no date."""
    start = start.replace(hour=0, minute=0, second=0)
    times = [start]
    for step in steps:
        times.append(times[-1] + timedelta(microseconds=step))
    names = [f"{time.strftime(form)}.png" for time in times]
    found = frame_numbers(data.draw(st.permutations(names)))
    assert [found[name] for name in names] == list(range(len(names)))


@given(
    frames=st.sets(st.integers(0, 10**8), min_size=1, max_size=20),
    before=st.sampled_from(["", "clip", "a/b_", "2019-12-31_cam3_"]),
    width=st.sampled_from([1, 6, 12]),
    after=st.sampled_from([".jpg", ".png", "_out.jpeg", ""]),
)
def test_one_number_that_differs_is_the_frame(frames, before, width, after):
    names = {f"{before}{frame:0{width}}{after}": frame for frame in frames}
    assert frame_numbers([*names]) == names
