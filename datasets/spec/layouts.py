"""Skeleton layouts: the joints, their bones and their body parts."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aclnet.datasets.spec.anatomy import derive
from aclnet.datasets.spec.errors import AclnetError
from aclnet.datasets.spec.wording import did_you_mean, shown

Pair = tuple[int, int]
_MAX_JOINTS = 1000
"""Limit of a layout's joints. Body meshes have more points, but no bones between them."""


class Layout(BaseModel):
    """One joint layout. Joint indices count from 0; every list of joints is in file order."""

    model_config = ConfigDict(frozen=True, extra="forbid", serialize_by_alias=True)

    name: str
    joints: tuple[str, ...] = Field(max_length=_MAX_JOINTS)
    centre: int = Field(alias="center")  # spelt as in published tables, stores and layout files
    """Joint towards which `inward` edges point."""
    inward: tuple[Pair, ...] = Field(max_length=_MAX_JOINTS)
    """Edges (child, parent) of the body graph."""
    bone_parent: tuple[int, ...]
    """bone[v] = x[v] - x[bone_parent[v]]; the root is its own parent."""
    kbone_partner: tuple[int, ...]
    """k-bone[v] = x[v] - x[kbone_partner[v]]: the joint two bones inward."""
    mirror: tuple[int, ...]
    """Exchange of left and right: mirrored[v] = x[mirror[v]]."""
    parts: dict[str, tuple[int, ...]] = Field(default_factory=dict)
    normalise_centre: int | None = None
    """Joint that normalisation moves to the origin."""
    spine: Pair | None = None
    """(bottom, top) joints that alignment turns onto +z."""
    shoulders: Pair | None = None
    """(right, left) joints that alignment turns onto +x."""

    @property
    def num_joints(self) -> int:
        return len(self.joints)

    @property
    def has_sides(self) -> bool:
        """True if the layout names left and right joints."""
        return self.mirror != tuple(range(self.num_joints))

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        v = self.num_joints
        for field in ("bone_parent", "kbone_partner", "mirror"):
            indices = getattr(self, field)
            if len(indices) != v or not all(0 <= j < v for j in indices):
                raise ValueError(f"{field} must have {v} joint indices from 0 to {v - 1}")
        if any(self.mirror[self.mirror[j]] != j for j in range(v)):
            raise ValueError("mirror must be its own inverse")
        named = [j for part in self.parts.values() for j in part] + [*sum(self.inward, ())]
        named += [self.centre, *(self.spine or ()), *(self.shoulders or ())]
        named += [] if self.normalise_centre is None else [self.normalise_centre]
        if not all(0 <= j < v for j in named):
            raise ValueError(f"joint indices must be from 0 to {v - 1}")
        if any(self._root_of(j) is None for j in range(v)):
            raise ValueError(
                "bone_parent must lead from every joint to a root, which is its own parent"
            )
        return self

    def _root_of(self, joint: int) -> int | None:
        for _ in self.joints:
            if self.bone_parent[joint] == joint:
                return joint
            joint = self.bone_parent[joint]
        return None

    def resolve(self, selector: str) -> tuple[int, ...]:
        """Indices of parts or joints joined by `+`, for example `hands+SpineMid`, sorted.

        Case does not matter, unless a joint and a part differ by case alone: `Head` is a joint of
        nturgb+d, `head` its part. Raises AclnetError that lists the known names.
        """
        joints = {name: (j,) for j, name in enumerate(self.joints)}
        by_lower = {name.lower(): (j,) for j, name in enumerate(self.joints)}
        known = by_lower | {name.lower(): joints for name, joints in self.parts.items()}
        chosen: set[int] = set()
        for name in selector.split("+"):
            key = name.strip().lower().replace("-", "_")
            found = joints.get(name.strip()) or known.get(key)
            if not found:
                similar = did_you_mean(key, [name for name, joints in known.items() if joints])
                parts = ", ".join(name for name, joints in self.parts.items() if joints)
                raise AclnetError(
                    f"{name.strip()!r} is not a part or joint of layout {self.name}{similar}. "
                    f"Parts: {parts}. Joints: {', '.join(self.joints)}."
                )
            chosen.update(found)
        return tuple(sorted(chosen))


@cache
def registry() -> dict[str, Layout]:
    """The layouts shipped with aclnet, by name."""
    folder = files("aclnet.datasets.tables") / "layouts"
    tables = {entry.name.removesuffix(".json"): entry for entry in folder.iterdir()}
    return {name: layout_of(name, json.loads(tables[name].read_text())) for name in sorted(tables)}


def get_layout(name_or_file: str) -> Layout:
    """A shipped layout by name, or one from a user's JSON file (path ending in `.json`)."""
    if name_or_file.endswith(".json"):
        return _from_file(Path(name_or_file))
    try:
        return registry()[name_or_file]
    except KeyError:
        raise AclnetError(
            f"unknown layout {name_or_file!r}{did_you_mean(name_or_file, registry())}; "
            f"known: {', '.join(sorted(registry()))}, "
            "or a .json file of your own"
        ) from None


def remember_layout(layout: Layout) -> None:
    """Registers a layout that is not shipped, for example that of a run, under its name."""
    registry().setdefault(layout.name, layout)


def layouts_of(*joints: int) -> list[str]:
    """Names of the shipped layouts that have one of these numbers of joints."""
    return [name for name, layout in registry().items() if layout.num_joints in joints]


def layout_of(name: str, entry: object) -> Layout:
    """A layout from plain values; raises AclnetError with the problem if they are invalid.

    `joints` and `parents` are enough: the other fields follow from them. A joint may be given by
    its number or by its name.
    """
    if not isinstance(entry, dict):
        raise AclnetError("one object is expected")
    unknown = entry.keys() - {*_KEYS, "num_joints", "schema"}  # `aclnet layouts NAME --json` has it
    if unknown:
        raise AclnetError(f"there is no key `{min(unknown)}`; the keys are {', '.join(_KEYS)}")
    joints = _joints(entry)
    places = {joint: j for j, joint in enumerate(joints)}
    given = {key: value for key, value in entry.items() if key in _KEYS and key != "joints"}
    numbered = {key: _numbered(value, places, key) for key, value in given.items()}
    parents = _parents(numbered, joints)
    derived: dict[str, Any] = {}
    if not {"center", "inward", "bone_parent", "kbone_partner", "mirror"} <= numbered.keys():
        derived = derive(joints, parents)
    numbered.pop("parents", None)
    try:
        return Layout.model_validate({"name": name, "joints": joints, **derived, **numbered})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] == "value_error":
            raise AclnetError(str(first["ctx"]["error"])) from None
        key = str(first["loc"][0])
        raise AclnetError(f"`{key}` must be {_KEYS.get(key, 'of another kind')}") from None


_KEYS = {
    "joints": f"a list of 1 to {_MAX_JOINTS} names",
    "parents": "a list with one joint for each joint, null for the root",
    "center": "a joint",
    "inward": f"a list of pairs [child, parent], at most {_MAX_JOINTS}",
    "bone_parent": "a list with one joint for each joint",
    "kbone_partner": "a list with one joint for each joint",
    "mirror": "a list with one joint for each joint",
    "parts": "an object of lists of joints",
    "normalise_centre": "a joint or null",
    "spine": "two joints, the lower and the upper end, or null",
    "shoulders": "two joints, right and left, or null",
}
"""Keys of a layout's file and their values. Joints are given by number or name."""


def _joints(entry: dict[str, Any]) -> list[str]:
    joints = entry.get("joints")
    if (
        not isinstance(joints, list)
        or not 1 <= len(joints) <= _MAX_JOINTS
        or not all(isinstance(joint, str) and joint for joint in joints)
    ):
        raise AclnetError(f"`joints` must be {_KEYS['joints']}")
    twice = next((joint for joint in joints if joints.count(joint) > 1), None)
    if twice is not None:
        raise AclnetError(f"joint {twice!r} occurs twice")
    return joints


def _numbered(value: object, places: dict[str, int], key: str) -> Any:  # noqa: ANN401
    """Replaces the names of joints by their numbers."""
    if isinstance(value, str):
        if value not in places:
            raise AclnetError(f"`{key}`: there is no joint {value!r}")
        return places[value]
    if isinstance(value, list):
        return [_numbered(inner, places, key) for inner in value]
    if isinstance(value, dict):
        return {name: _numbered(inner, places, key) for name, inner in value.items()}
    return value


def _parents(entry: dict[str, Any], joints: list[str]) -> list[int]:
    """Parent of each joint. A root is its own parent."""
    key = "parents" if "parents" in entry else "bone_parent"
    parents = entry.get(key)
    if parents is None:
        raise AclnetError("`parents` is missing: the parent of each joint")
    if not isinstance(parents, list) or len(parents) != len(joints):
        raise AclnetError(f"`{key}` must be {_KEYS[key]}; {len(joints)} in all")
    found = [j if parent in (None, -1) else parent for j, parent in enumerate(parents)]
    for joint, parent in zip(joints, found, strict=True):
        if type(parent) is not int or not 0 <= parent < len(joints):
            raise AclnetError(
                f"`{key}`: {parent!r} of {joint} is not a joint from 0 to {len(joints) - 1}"
            )
    for j, joint in enumerate(joints):
        seen = {j}
        while found[j] != j:
            j = found[j]
            if j in seen:
                raise AclnetError(f"`{key}`: {joint} is not connected to a root")
            seen.add(j)
    return found


def _from_file(path: Path) -> Layout:
    try:
        return layout_of(path.stem, json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise AclnetError(f"layout file {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError, AclnetError) as error:
        raise AclnetError(
            f"layout file {path} is not a layout: {shown(error, 300)}; docs/layouts.md shows a "
            "small one"
        ) from None
