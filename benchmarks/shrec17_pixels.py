"""SHREC'17 with joints in pixels, for measurements of 2-D input on real movements.

`python benchmarks/shrec17_pixels.py shrec17.zip pixels.zip` writes a zip with the same tree, whose
recordings are `skeletons_image.txt`. The joints are projected by a pinhole camera whose optical
axis passes through the upper left corner of the image: with this axis and a focal length of 464
pixels, 99.7 % of the joints are inside of the 640 x 480 pixels of the depth image. The focal length
is our estimate. So these are not the pixels of the original files, which we do not have.
"""

from __future__ import annotations

import argparse
import io
import zipfile
from pathlib import Path

import numpy as np

FOCAL = np.array([464.0, -464.0])
"""Pixels per tangent; the world's y points up, and that of images points down."""


def project(text: bytes) -> str:
    """Lines of x and y in pixels, for lines of x, y and z of 22 joints in metres."""
    world = np.loadtxt(io.BytesIO(text), ndmin=2).reshape(-1, 22, 3)
    pixels = world[..., :2] / world[..., 2:] * FOCAL
    file = io.StringIO()
    np.savetxt(file, pixels.reshape(len(pixels), -1), fmt="%.3f")
    return file.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("world", type=Path, help="zip of the original tree")
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    with zipfile.ZipFile(given.world) as world, zipfile.ZipFile(given.out, "x") as out:
        for name in world.namelist():
            if name.endswith("skeletons_world.txt"):
                out.writestr(name.replace("_world", "_image"), project(world.read(name)))
            elif name.endswith("gestures.txt"):
                out.writestr(name, world.read(name))


if __name__ == "__main__":
    main()
