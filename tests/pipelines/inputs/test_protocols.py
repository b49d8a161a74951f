"""Every protocol against loops over single joints, and what all protocols have in common."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.special import erfinv
from torch.testing import assert_close

from aclnet.datasets.spec import AclnetError
from aclnet.datasets.spec.layouts import registry
from aclnet.datasets.store.keyed_random import fold, integers, uniform
from aclnet.pipelines.choices import Missing
from aclnet.pipelines.inputs.corruptions.fill import corrupt
from aclnet.pipelines.inputs.corruptions.frames import Thinning
from aclnet.pipelines.inputs.corruptions.persons import LostPersons
from aclnet.pipelines.inputs.protocols import PROTOCOLS, SUITES, open_protocol

DOCS = Path(__file__).parents[3] / "docs" / "occlusion.md"
EXACT = {"rtol": 0, "atol": 0}
ON_TRACKS = [
    name
    for name, entry in PROTOCOLS.items()
    if not name.startswith(("frames-v1/dropped", "frames-v1/every", "persons-v1/lost"))
]
"""Protocols that act on the joints of a batch; the others decide what is in the batch."""
RAGCN = {  # counted from 1, as the article has it
    "left_arm": [5, 6, 7, 8, 22, 23],
    "right_arm": [9, 10, 11, 12, 24, 25],
    "hands": [22, 23, 24, 25],
    "legs": [13, 14, 15, 16, 17, 18, 19, 20],
    "trunk": [1, 2, 3, 4, 21],
}
PARTS = {
    "left_arm": [4, 5, 6, 7, 21, 22],
    "right_arm": [8, 9, 10, 11, 23, 24],
    "left_leg": [12, 13, 14, 15],
    "right_leg": [16, 17, 18, 19],
    "trunk": [0, 1, 20],
    "head": [2, 3],
    "left_hand": [6, 7, 21, 22],
    "right_hand": [10, 11, 23, 24],
}
PARTS |= {f"{p}s": PARTS[f"left_{p}"] + PARTS[f"right_{p}"] for p in ("arm", "leg", "hand")}


class Naive:
    """A protocol by its name alone, joint by joint, on the layout nturgb+d."""

    def __init__(self, name: str, x: np.ndarray, scene, seed: int) -> None:
        self.x, self.seed = x, seed
        self.family, _, self.rest = name.partition("/")
        number = self.rest.rpartition("-")[2]
        self.value = float(number) if number.replace(".", "").isdigit() else 0.0
        self.owner, self.frame, self.n_frames, self.keys, self.present = (
            getattr(scene, field).numpy()
            for field in ("owner", "frame", "n_frames", "key", "present")
        )
        self.rotation, self.origin = scene.rotation.numpy(), scene.origin.numpy()
        self.mirror = scene.layout.mirror

    def key(self, p: int, *words: int):
        return fold(self.keys[p : p + 1], 3, self.seed, *words)

    def person(self, p: int) -> int:
        return int((self.owner[:p] == self.owner[p]).sum())

    def is_missing(self, p: int, n: int, v: int) -> bool:
        frame, last = int(self.frame[p, n]), int(self.n_frames[p])
        if self.family == "parts-v1":
            return any(v in PARTS[part] for part in self.rest.split("+"))
        if self.family == "ragcn-v1" and self.rest in RAGCN:
            return v + 1 in RAGCN[self.rest]
        if self.family == "ragcn-v1":
            return 50 - self.value / 2 <= frame < 50 + self.value / 2
        if self.rest.startswith("block"):
            length = int(self.value * last + 0.5)
            start = int(uniform(self.key(p), 0)[0] * (last - length + 1))
            return start <= frame < start + length
        if self.family == "joints-v1":
            once = self.rest.startswith("sequence")
            key = self.key(p, self.person(p), *(() if once else (frame,)))
            return bool(uniform(key, v)[0] < self.value)
        if self.family == "posec3d-v1":
            key, limbs = self.key(p, self.person(p), frame), sorted(PARTS["arms"] + PARTS["legs"])
            return limbs[int(integers(key, 1, 20)[0])] == v and uniform(key, 0)[0] < self.value
        if self.family == "occluder-v1":
            raw = self.rotation[p].T @ (self.x[p, n, v, :3] - self.origin[p])
            centre = self.rotation[p].T @ -self.origin[p]
            way = -1 if uniform(self.key(p), 0)[0] < 0.5 else 1
            strip = centre[0] + way * (2 * frame / max(last - 1, 1) - 1)
            return raw[2] > 0 and abs(raw[0] / raw[2] * centre[2] - strip) < self.value / 2
        return False

    def joint(self, p: int, n: int, v: int) -> np.ndarray:
        """Mask of the places where the joint is moved, missing or not."""
        frame, x = int(self.frame[p, n]), self.x[p, n, v]
        key = self.key(p, self.person(p), frame)
        if self.family == "sides-v1":
            return self.x[p, n, self.mirror[v]] if uniform(key, 0)[0] < self.value else x
        if self.rest == "exchanged":
            persons = np.flatnonzero(self.owner == self.owner[p])
            start = 1 + int(uniform(self.key(p), 0)[0] * max(int(self.n_frames[p]) - 1, 1))
            if frame < start or len(persons) < 2 or self.person(p) > 1:
                return x
            return self.x[persons[1 - self.person(p)], n, v]
        if self.family == "jitter-v1" and x.any() and self.present[p, n]:
            share = float(self.rest.split("-")[1])
            if uniform(key, v)[0] < share:
                noise = np.zeros(len(x))
                for c in range(len(x)):
                    noise[c] = erfinv(2 * uniform(key, 25 + len(x) * v + c)[0] - (1 - 2.0**-53))
                return x + noise * 2**0.5 * self.value
        return x


# one of each kind: what differs is the number in the name
ONE_OF_EACH = {re.sub(r"-[\d.]+$", "", name): name for name in ON_TRACKS if "+" not in name}


MORE = ("parts-v1/left_arm+head", "ragcn-v1/frames-10")  # both ends of ten frames are in the batch


@pytest.mark.parametrize("name", [*ONE_OF_EACH.values(), *MORE])
def test_against_single_joints(name, make_scene):
    x, scene = make_scene()
    before = x.clone()
    protocol = open_protocol(name, scene.layout, seed=5)
    found, missing = corrupt(protocol.corruption, x, scene)
    assert_close(x, before, **EXACT)
    naive = Naive(name, x.numpy(), scene, 5)
    for p, n, v in list(np.ndindex(x.shape[:3]))[::3]:
        gone = bool(scene.present[p, n]) and naive.is_missing(p, n, v)
        assert bool(missing[p, n, v]) == gone, (p, n, v)
        wanted = np.zeros(3) if gone else naive.joint(p, n, v)
        np.testing.assert_allclose(found[p, n, v].numpy(), wanted, atol=2e-6)


def test_the_protocols_above_do_something(make_scene):
    """The batch is such that every protocol on tracks changes it."""
    x, scene = make_scene()
    for name in ON_TRACKS:
        found, _ = corrupt(open_protocol(name, scene.layout).corruption, x, scene)
        assert not torch.equal(found, x), name


@pytest.mark.parametrize(
    "name", ["frames-v1/dropped-0.3", "frames-v1/dropped-0.9", "frames-v1/every-4"]
)
def test_frames_that_are_left(name):
    lengths, keys = np.array([1, 2, 10, 95]), np.array([11, 12, 13, 14])
    rule = open_protocol(name, registry()["nturgb+d"], seed=2).corruption
    count, numbers = rule.count(lengths), rule(lengths, keys)
    share = float(name.rpartition("-")[2])
    for n, key, c, row in zip(lengths, keys, count, numbers, strict=True):
        if "every" in name:
            wanted = list(range(0, n, 4))
        else:
            draws = sorted((uniform(fold(np.array([key]), 3, 2), f)[0], f) for f in range(n))
            wanted = sorted(f for _, f in draws[: max(1, n - int(share * n + 0.5))])
        assert row[:c].tolist() == wanted


# What protocols have in common

RANDOM = (
    "joints-v1/frame-0.3",
    "joints-v1/sequence-0.3",
    "posec3d-v1/limb-0.5",
    "frames-v1/block-0.3",
)
MOVING = ("jitter-v1/share-0.5-sigma-0.05", "sides-v1/swapped-0.5", "persons-v1/exchanged")
CHOSEN = ("parts-v1/hands", "ragcn-v1/trunk", "ragcn-v1/frames-50")


@pytest.mark.parametrize("name", [*CHOSEN, *RANDOM])
@pytest.mark.parametrize("missing", get_args(Missing))
def test_twice_equals_once(name, missing, make_scene):
    x, scene = make_scene(scored=True)
    corruption = open_protocol(name, scene.layout, missing).corruption
    once, gone = corrupt(corruption, x, scene)
    twice, again = corrupt(corruption, once, scene)
    assert_close(twice, once, **EXACT)
    assert torch.equal(again, gone)


@pytest.mark.parametrize("missing", get_args(Missing))
@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("joints-v1/frame-0.3", "rate"),
        ("joints-v1/sequence-0.3", "rate"),
        ("posec3d-v1/limb-0.5", "rate"),
        ("ragcn-v1/frames-10", "frames"),
        ("frames-v1/block-0.3", "share"),
        ("occluder-v1/strip-0.4", "width"),
        ("jitter-v1/share-0.5-sigma-0.05", "share"),
        ("sides-v1/swapped-0.5", "rate"),
    ],
)
def test_dropping_nothing_changes_nothing(name, field, missing, make_scene):
    x, scene = make_scene(scored=True)
    nothing = replace(open_protocol(name, scene.layout, missing).corruption, **{field: 0})
    found, gone = corrupt(nothing, x, scene)
    assert_close(found, x, **EXACT)
    assert not gone.any()


@pytest.mark.parametrize("name", [*RANDOM, *MOVING, "occluder-v1/strip-0.8"])
@pytest.mark.parametrize("missing", ["centre", "interpolate"])
def test_neither_the_batch_nor_the_clips_matter(name, missing, make_scene):
    x, scene = make_scene()
    corruption = open_protocol(name, scene.layout, missing).corruption
    whole, _ = corrupt(corruption, x, scene)
    for sample in range(4):
        alone, only = make_scene(samples=(sample,))
        assert_close(corrupt(corruption, alone, only)[0], whole[scene.owner == sample], **EXACT)
    first = {name: getattr(scene, name)[:, :8] for name in ("frame", "present")}
    clip, _ = corrupt(corruption, x[:, :8], replace(scene, clip=scene.clip[:8], **first))
    assert_close(clip, whole[:, :8], **EXACT)


@pytest.mark.parametrize("name", [*RANDOM, *MOVING])
def test_seeds_reproduce_and_differ(name, make_scene):
    x, scene = make_scene()
    one, again, other = (
        corrupt(open_protocol(name, scene.layout, seed=seed).corruption, x, scene)[0]
        for seed in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_rates_are_met_and_greater_rates_hide_more(make_scene):
    x, scene = make_scene()
    long = torch.arange(4000).expand(len(x), -1)
    scene = replace(
        scene, frame=long, present=torch.ones_like(long, dtype=torch.bool), clip=0 * long[0]
    )
    x = torch.ones(len(x), 4000, 25, 3)
    masks = [
        corrupt(open_protocol(f"joints-v1/frame-{rate}", scene.layout).corruption, x, scene)[1]
        for rate in (0.1, 0.3, 0.7)
    ]
    for mask, rate in zip(masks, (0.1, 0.3, 0.7), strict=True):
        assert mask.float().mean().item() == pytest.approx(rate, abs=0.003)
    assert not (masks[0] & ~masks[1]).any()
    assert not (masks[1] & ~masks[2]).any()
    noise, _ = corrupt(
        open_protocol("jitter-v1/share-1-sigma-0.05", scene.layout).corruption, x, scene
    )
    assert (noise - x).std().item() == pytest.approx(0.05, rel=0.01)
    assert abs((noise - x).mean().item()) < 1e-4


# Names


def test_suites_are_of_known_protocols_and_grow():
    quick, standard, full = (set(SUITES[suite]) for suite in ("quick", "standard", "full"))
    assert len(SUITES["standard"]) == len(standard)
    assert quick < standard < full == set(PROTOCOLS)
    families = {name.partition("/")[0] for name in full}
    assert families == {name.partition("/")[0] for name in standard}


def test_the_name_says_what_missing_means_where_joints_are_missing(make_scene):
    layout = registry()["nturgb+d"]
    assert open_protocol("hands", layout).name == "parts-v1/hands (centre)"
    assert (
        open_protocol("hands+Head", layout, "hold", 3).name == "parts-v1/hands+Head (hold, seed 3)"
    )
    for name in PROTOCOLS:
        protocol = open_protocol(name, layout, "camera")
        moves = isinstance(protocol.corruption, Thinning | LostPersons) or name in [
            n for n in ON_TRACKS if n.startswith(("jitter", "sides", "persons"))
        ]
        assert protocol.name == (name if moves else f"{name} (camera)")


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("wings", "nturgb+d", "'wings' is not a part or joint of layout nturgb+d. Parts: "),
        ("arms+legs+trunk+head", "nturgb+d", "contains every joint of layout nturgb+d"),
        ("parts-v1/trunk", "coco", "'trunk' is not a part or joint of layout coco"),
        ("ragcn-v1/hands", "utd_mhad", "is for layout nturgb+d, not for utd_mhad"),
        ("posec3d-v1/limb-1", "hand21", "'arms' is not a part or joint of layout hand21"),
        ("sides-v1/swapped-0.5", "hand21", "layout hand21 names no left and right joints"),
        (
            "parts-v9/hands",
            "nturgb+d",
            "there is no protocol 'parts-v9/hands' (did you mean parts-v1/hands?); the names are",
        ),
    ],
)
def test_what_a_layout_does_not_have(name, layout, message):
    with pytest.raises(AclnetError, match=re.escape(message)):
        open_protocol(name, registry()[layout])


# Documentation


def rows_of(heading: str) -> list[list[str]]:
    """Cells of the rows of the table below a heading of docs/occlusion.md."""
    section = DOCS.read_text().split(f"## {heading}\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_documentation_lists_the_protocols():
    names = []
    for row in rows_of("Protocols"):
        for name in re.findall(r"`([^`]+)`", row[0]):
            before, braces, after = name.partition("{")
            inside, _, after = after.partition("}")
            names += [f"{before}{i}{after}" for i in inside.split(",")] if braces else [name]
    pairs = [name for name in PROTOCOLS if name.startswith("parts-v1/") and "+" in name]
    assert sorted(names) == sorted(set(PROTOCOLS) - set(pairs))


def test_the_documentation_lists_the_joints():
    """As numbers and ranges, a row a layout."""
    head = ["left_arm", "right_arm", "left_leg", "right_leg", "trunk", "head"]
    head += ["left_hand", "right_hand"]
    found = {row[0].strip("`"): row[1:] for row in rows_of("Joints of the parts")}
    wanted = {
        name: [ranges(layout.parts.get(part, ())) for part in head]
        for name, layout in registry().items()
    }
    assert found == wanted, "\n".join(
        f"| `{name}` | {' | '.join(cells)} |" for name, cells in wanted.items()
    )


def ranges(joints: tuple[int, ...]) -> str:
    """`4-7, 21-22`; `-` for none."""
    runs: list[list[int]] = []
    for joint in joints:
        if runs and joint == runs[-1][-1] + 1:
            runs[-1].append(joint)
        else:
            runs.append([joint])
    words = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return ", ".join(words) or "-"
