"""Colours of joints: left, right and middle of a body, or the fingers of a hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from aclnet.datasets.spec.layouts import Layout

COLOURS = ("#4d545c", "#0072b2", "#d55e00", "#009e73", "#b0508c", "#a67c00", "#3d7a9e")
"""Colours by number, as `--joint-0` and so on of `viewer.css` on a light ground."""


_REST = {True: "middle", False: "other"}
"""Name of the joints without a group, for layouts with sides and without."""


class Groups(NamedTuple):
    """Colours of a layout's joints."""

    colour: list[int]
    """Number of the colour of each joint."""
    names: dict[str, int]
    """The groups that have joints, and their colours."""


def groups_of(layout: Layout) -> Groups:
    """Joints by side if the layout's parts have sides, else by part."""
    sided = any(part.startswith("left_") for part in layout.parts)
    name_of = [_REST[sided]] * layout.num_joints
    for part, joints in layout.parts.items():
        name = part.partition("_")[0] if sided else part
        if name in ("left", "right") if sided else part != "tips":  # the fingers have the tips too
            for joint in joints:
                name_of[joint] = name
    order = [_REST[sided], "left", "right"] if sided else [_REST[sided], *layout.parts]
    number = {
        name: n if n == 0 else 1 + (n - 1) % (len(COLOURS) - 1) for n, name in enumerate(order)
    }
    used = {name: number[name] for name in order if name in name_of}
    return Groups([number[name] for name in name_of], used if len(used) > 1 else {})
