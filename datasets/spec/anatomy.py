"""Facts about a body that follow from the names of its joints and their parents."""

from __future__ import annotations

import re
from typing import Any

from aclnet.datasets.spec.errors import AclnetError

_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
_HEAD = {"head", "nose", "eye", "ear", "mouth", "jaw", "face", "chin", "brow", "lip", "tongue"}
_FOOT = {"ankle", "foot", "toe", "toes", "heel"}
_LEG = _FOOT | {"hip", "knee", "leg", "thigh", "calf", "shin"}
_HAND = {"wrist", "hand", "palm", "thumb", "index", "middle", "ring", "pinky", "little", "finger"}
_ARM = _HAND | {"shoulder", "elbow", "arm", "forearm", "fingers", "tip"}
_BOTTOMS = ("pelvis", "hip", "hips", "midhip", "hipcenter", "spinebase", "waist", "root", "torso")
_TOPS = ("neck", "thorax", "spineshoulder", "shouldercenter", "midshoulder", "spinechest", "chest")
"""Names of the ends of the spine, the likeliest first."""


def derive(joints: list[str], parents: list[int]) -> dict[str, Any]:
    """The other fields of a layout.

    Args:
        joints: names, each once.
        parents: parent of each joint, the root its own; they lead every joint to a root.

    Raises AclnetError where a joint of one side has no counterpart, though others have one.
    """
    root = next(j for j, parent in enumerate(parents) if parent == j)
    tokens = [_tokens(name) for name in joints]
    mirror = _mirror(joints, tokens)
    plain = {"".join(words): j for j, words in enumerate(tokens)}
    bottom, top = (
        next((plain[name] for name in names if name in plain), None) for names in (_BOTTOMS, _TOPS)
    )
    return {
        "center": root,
        "inward": [(j, parent) for j, parent in enumerate(parents) if parent != j],
        "bone_parent": parents,
        "kbone_partner": [
            j if parents[parent] == parent else parents[parent] for j, parent in enumerate(parents)
        ],
        "mirror": mirror,
        "parts": _parts(tokens, parents),
        "normalise_centre": root if bottom is None else bottom,
        "spine": None if bottom is None or top is None else (bottom, top),
        "shoulders": _shoulders(tokens, mirror),
    }


def _tokens(name: str) -> tuple[str, ...]:
    """Words of a name: LShoulder, Shoulder_L and left-shoulder have a side and a `shoulder`."""
    return tuple(token.lower() for token in _TOKEN.findall(name))


def _side(words: tuple[str, ...]) -> str:
    """`left`, `right`, or empty."""
    found = next((word for word in words if word in _SIDES), "")
    return {"l": "left", "r": "right"}.get(found, found)


def _mirror(joints: list[str], tokens: list[tuple[str, ...]]) -> list[int]:
    place = {words: j for j, words in enumerate(tokens)}
    mirror = [
        place.get(tuple(_SIDES.get(word, word) for word in words), -1 if _side(words) else j)
        for j, words in enumerate(tokens)
    ]
    alone = [j for j, other in enumerate(mirror) if other < 0]
    if alone and any(other not in (-1, j) for j, other in enumerate(mirror)):
        raise AclnetError(
            f"joint {joints[alone[0]]} has no counterpart on the other side; name it as the other "
            "joints are named, or give `mirror`"
        )
    return [j if other < 0 else other for j, other in enumerate(mirror)]


def _parts(tokens: list[tuple[str, ...]], parents: list[int]) -> dict[str, list[int]]:
    """Parts by the joints' names; a joint of a side that no word tells is where its parent is."""
    names = [f"{side}_{limb}" for limb in ("arm", "leg", "hand", "foot") for side in _SIDES_OF]
    parts: dict[str, list[int]] = {name: [] for name in (*names, "trunk", "head")}
    limb_of: dict[int, str] = {}
    for j in _outwards(parents):
        words, side = {*tokens[j]}, _side(tokens[j])
        if words & _HEAD:
            limb = "head"
        elif not side or words & {"clavicle", "collar"}:
            limb = "trunk"
        elif words & _LEG:
            limb = f"{side}_leg"
        elif words & _ARM:
            limb = f"{side}_arm"
        else:
            limb = limb_of.get(parents[j], "trunk")
        limb_of[j] = limb
        parts[limb].append(j)
        if limb.endswith("leg") and words & _FOOT:
            parts[f"{side}_foot"].append(j)
        if limb.endswith("arm") and words & _HAND:
            parts[f"{side}_hand"].append(j)
    for limb, several in (("arm", "arms"), ("leg", "legs"), ("hand", "hands"), ("foot", "feet")):
        parts[several] = [j for side in _SIDES_OF for j in parts[f"{side}_{limb}"]]
    return {name: sorted(found) for name, found in parts.items()}


_SIDES_OF = ("left", "right")


def _outwards(parents: list[int]) -> list[int]:
    """Joints in an order in which each follows its parent."""

    def depth(joint: int) -> int:
        steps = 0
        while parents[joint] != joint:
            joint, steps = parents[joint], steps + 1
        return steps

    return sorted(range(len(parents)), key=depth)


def _shoulders(tokens: list[tuple[str, ...]], mirror: list[int]) -> tuple[int, int] | None:
    """Right and left; the upper arms where no joint is called a shoulder."""
    for word in ("shoulder", "arm"):
        for j, words in enumerate(tokens):
            if word in words and _side(words) == "right" and mirror[j] != j:
                return j, mirror[j]
    return None
