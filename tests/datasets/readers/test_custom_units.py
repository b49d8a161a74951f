"""Three numbers a joint: x, y and z in metres, or x, y and a confidence in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from aclnet.datasets.registry import get_dataset, open_raw
from aclnet.datasets.spec import AclnetError
from tests.datasets.readers.custom_folder import write

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(0)
BODY = RNG.uniform(-0.5, 0.5, (8, 17, 3)) * [1, 1.8, 0.5]
"""Joints of a person in metres, about the middle."""
SURE = RNG.uniform(0.2, 1, (8, 17, 1))
PIXELS = np.concatenate([300 + 200 * BODY[..., :2], SURE], axis=-1)


def folder(place: Path, *recordings: np.ndarray, suffix: str = ".npy", units: str = "") -> Path:
    place.mkdir(exist_ok=True)
    rows = ["id,file,label"]
    for n, values in enumerate(recordings):
        rows.append(f"r{n},r{n}{suffix},x")
        if suffix == ".npy":
            np.save(place / f"r{n}.npy", values)
        else:
            np.savetxt(place / f"r{n}.csv", values.reshape(len(values), -1), delimiter=",")
    return write(place, "\n".join(rows), dataset_toml=f'layout = "coco"\n{units}')


@pytest.mark.parametrize("suffix", [".npy", ".csv"])
@pytest.mark.parametrize(
    "values",
    [
        pytest.param(PIXELS, id="pixels"),
        pytest.param(PIXELS * [1, 1, 4], id="confidences above 1, as RTMPose writes them"),
        pytest.param(PIXELS / [640, 480, 1], id="shares of the image"),
        pytest.param(BODY * [1, 1, 0], id="two coordinates and zeros"),
    ],
)
def test_what_may_be_a_confidence_is_asked_about(values, suffix, tmp_path):
    place = folder(tmp_path, values, suffix=suffix)
    with pytest.raises(
        AclnetError, match=r"whether the third is z or a confidence; write `units = "
    ) as e:
        open_raw(get_dataset("custom"), place)
    assert "r0" + suffix in str(e.value)
    for units, dimensions in (("px", 2), ("m", 3)):
        told = open_raw(
            get_dataset("custom"), folder(place, values, suffix=suffix, units=f'units = "{units}"')
        )
        sequence = told.read(told.scan()[0][0])
        np.testing.assert_allclose(sequence.keypoint[0], values[..., :dimensions], rtol=1e-5)
        assert (sequence.score is None) == (units == "m")


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(BODY, id="about the middle of the body"),
        pytest.param(BODY + np.array([0, 0, 2.5]), id="before a camera"),
        pytest.param(BODY[..., [0, 2, 1]] + [9, 5, 0.9], id="z upwards in a hall"),
        pytest.param(1000 * BODY + [0, 0, 3000], id="millimetres"),
    ],
)
def test_bodies_in_space_are_not_asked_about(values, tmp_path):
    assert open_raw(get_dataset("custom"), folder(tmp_path, values)).spec.units == "m"


def test_one_recording_that_is_clear_tells_for_all(tmp_path):
    """Somebody who lies on the floor, z upwards, then somebody who stands."""
    lying, standing = BODY + np.array([0, 0, 0.3]), BODY[..., [0, 2, 1]] + [0, 0, 0.9]
    source = open_raw(get_dataset("custom"), folder(tmp_path, lying, standing))
    found = source.read(source.scan()[0][0])
    np.testing.assert_allclose(found.keypoint[0], lying, rtol=1e-6)


@pytest.mark.parametrize("long", [False, True])
def test_a_header_without_z_is_not_metres(long, tmp_path):
    """x, y and score of 17 joints are as many columns as x, y and z."""
    if long:
        rows = ["frame,joint,x,y,score"]
        for t, v in np.ndindex(8, 17):
            rows.append(",".join(map(str, [t, v, *PIXELS[t, v]])))
    else:
        rows = [",".join(f"{axis}{v}" for v in range(17) for axis in ("x", "y", "score"))]
        rows += [",".join(map(str, row)) for row in PIXELS.reshape(8, -1)]
    place = folder(tmp_path)
    write(place, "id,file,label\na,a.csv,x", dataset_toml='layout = "coco"')
    (place / "a.csv").write_text("\n".join(rows))
    source = open_raw(get_dataset("custom"), place)
    damage = source.read(source.scan()[0][0])
    assert "x and y, but no z; write units = " in damage.reason
    write(place, "id,file,label\na,a.csv,x", dataset_toml='layout = "coco"\nunits = "px"')
    source = open_raw(get_dataset("custom"), place)
    found = source.read(source.scan()[0][0])
    np.testing.assert_allclose(found.keypoint[0], PIXELS[..., :2], rtol=1e-6)
    np.testing.assert_allclose(found.score[0], PIXELS[..., 2], rtol=1e-6)
