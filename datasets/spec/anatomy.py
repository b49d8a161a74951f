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
_FINGERS = ("thumb", "index", "middle", "ring", "pinky", "little")
_HAND = {"wrist", "hand", "palm", "finger", *_FINGERS}
_ARM = _HAND | {"shoulder", "elbow", "arm", "forearm", "fingers", "tip"}
_BOTTOMS = ("pelvis", "hip", "hips", "midhip", "hipcenter", "spinebase", "waist", "root", "torso")
_TOPS = ("neck", "thorax", "spineshoulder", "shouldercenter", "midshoulder", "spinechest", "chest")
"""Names of the ends of the spine, the likeliest first."""


def derive(joints: list[str], parents: list[int]) -> dict[str, Any]:
    """The other fields of a layout.

    Args:
        joints: names, all different.
        parents: parent of each joint; a root is its own parent, and every joint leads to a root.

    Raises AclnetError if a joint of one side has no counterpart although others have one.
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
        "parts": _hand_parts(tokens, parents) if _is_one_hand(tokens) else _parts(tokens, parents),
        "normalise_centre": root if bottom is None else bottom,
        "spine": None if bottom is None or top is None else (bottom, top),
        "shoulders": _shoulders(tokens, mirror),
    }


def _tokens(name: str) -> tuple[str, ...]:
    """Words of a name. LShoulder, Shoulder_L and left-shoulder give a side and `shoulder`."""
    return tuple(token.lower() for token in _TOKEN.findall(name))


def _side(words: tuple[str, ...]) -> str:
    """`left`, `right`, or empty if the words name no side."""
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
            f"joint {joints[alone[0]]} has no counterpart on the other side; name the joints of "
            "both sides in the same way, or give `mirror`"
        )
    return [j if other < 0 else other for j, other in enumerate(mirror)]


def _parts(tokens: list[tuple[str, ...]], parents: list[int]) -> dict[str, list[int]]:
    """Parts by the joints' names. A joint with a side but no known word is in its parent's limb."""
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


def _is_one_hand(tokens: list[tuple[str, ...]]) -> bool:
    return all(_HAND.intersection(words) and not _side(words) for words in tokens)


def _hand_parts(tokens: list[tuple[str, ...]], parents: list[int]) -> dict[str, list[int]]:
    """Parts of one hand: the palm, the fingers by their names, and the tips of the fingers."""
    parts: dict[str, list[int]] = {name: [] for name in ("palm", *_FINGERS)}
    for j, words in enumerate(tokens):
        parts[next((finger for finger in _FINGERS if finger in words), "palm")].append(j)
    return parts | {"tips": [j for j in range(len(parents)) if j not in {*parents, *parts["palm"]}]}


def _outwards(parents: list[int]) -> list[int]:
    """Joints in an order in which each follows its parent."""

    def depth(joint: int) -> int:
        steps = 0
        while parents[joint] != joint:
            joint, steps = parents[joint], steps + 1
        return steps

    return sorted(range(len(parents)), key=depth)


def _shoulders(tokens: list[tuple[str, ...]], mirror: list[int]) -> tuple[int, int] | None:
    """Right and left shoulder, or the upper arms if no joint is called a shoulder."""
    for word in ("shoulder", "arm"):
        for j, words in enumerate(tokens):
            if word in words and _side(words) == "right" and mirror[j] != j:
                return j, mirror[j]
    return None
