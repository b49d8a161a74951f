"""Sixteen synthetic actions in four families of deliberately similar movements.

A family is one movement with parameters; its classes are rows of a table. Classes of one family
differ only in the target of a hand, in rhythm or in path; families differ in the kind of movement.
Classifiers therefore confuse the classes that people would confuse. Every performance draws its
parameters around the row: the spreads below make the classes of a family overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from aclnet.datasets.synth.body import SIDES, FloatArray, Pose, Proportions

if TYPE_CHECKING:
    from collections.abc import Mapping

FRAME_RATE = 30
FRAMES = (40, 130)
"""Shortest and longest performance in frames, the same for all classes."""

# Difficulty: a small graph network is trained for about fifteen epochs on the 768 recordings of
# eight people. It should be right about seven or eight times in ten on other people, and nearly all
# errors should be within the family.
_PLACE_SPREAD = 0.012
"""Standard deviation in metres of the target of a hand or foot, by performance."""
_HABIT_SPREAD = 0.010
"""The same by person: constant over all performances of a person."""
_SIZE_SPREAD = 0.18
"""Log standard deviation of the size of sweeps, bounces, steps and gaps."""
_PACE_SPREAD = 0.15
"""Log standard deviation of rhythms."""

Vector = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class HandToHead:
    """One hand rises to the head, moves there and falls. Metres for a stature of 1.70."""

    target: Vector
    """Hand relative to SpineShoulder: across (positive on its own side), up, back."""
    sweep: Vector
    """Amplitude of the movement to and fro."""
    pace: float
    """Frequency of the movement, in Hz."""
    nod: float
    tilt: float
    """Inclination of the head to the hand's side, radians."""
    visits: tuple[int, int]
    """Fewest and most visits of the hand."""


@dataclass(frozen=True, slots=True)
class HandsInFront:
    """Both hands work in front of the chest."""

    gap: float
    """Half the distance between the hands when closest."""
    swing: float
    """Outward movement of each hand at every beat."""
    rub: float
    """Amplitude of the hands' movement against each other."""
    scribble: float
    """Amplitude of the dominant hand alone."""
    pace: float
    nod: float
    height: float
    """Height of the hands below SpineShoulder."""
    forth: float
    """Distance of the hands in front of SpineShoulder."""


@dataclass(frozen=True, slots=True)
class Footwork:
    """Strokes on one or both legs."""

    bounce: float
    """Rise of the whole body at each stroke."""
    crouch: float
    """Depth of the crouch before a stroke."""
    lift: float
    """Lift of the free foot."""
    forth: float
    """Forward movement of the free foot."""
    other: float
    """Share of the movement that the other foot makes at the same time."""
    turns: float
    """Share of the movement in which the feet alternate."""
    sway: float
    """Sideways inclination of the trunk, radians."""
    arms: float
    """Upward swing of the arms, relative to their length."""
    strokes: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Encounter:
    """One person reaches for another person, who answers."""

    height: float
    """Height of the hand below SpineShoulder."""
    both_hands: float
    """Probability of using both hands."""
    stay: float
    """Share of a stroke in which the arm is stretched."""
    shake: float
    """Amplitude of the common movement up and down."""
    answer: float
    """Movement of the other's hand to meet the first, 0 to 1."""
    delay: float
    """Delay of the other's answer, relative to the performance."""
    recoil: float
    """Recoil of the other, in metres."""
    lunge: float
    """Forward throw of the first's trunk, radians."""
    strokes: tuple[int, int]


Movement = HandToHead | HandsInFront | Footwork | Encounter

MOVEMENTS: Mapping[int, Movement] = {
    # drink water, brush teeth, make a phone call, wipe face
    1: HandToHead((0.03, 0.08, -0.18), (0.00, 0.01, 0.00), 0.8, -0.25, 0.00, (1, 3)),
    3: HandToHead((0.05, 0.12, -0.13), (0.035, 0.015, 0.00), 2.6, 0.04, 0.02, (1, 1)),
    28: HandToHead((0.12, 0.15, -0.01), (0.00, 0.00, 0.01), 0.4, 0.05, 0.12, (1, 1)),
    37: HandToHead((0.02, 0.19, -0.13), (0.08, 0.04, 0.00), 1.3, 0.02, 0.00, (1, 2)),
    # clap, read, write, rub two hands together
    10: HandsInFront(0.015, 0.14, 0.00, 0.00, 2.0, 0.02, 0.12, 0.31),
    11: HandsInFront(0.13, 0.01, 0.00, 0.00, 0.4, 0.32, 0.16, 0.27),
    12: HandsInFront(0.06, 0.00, 0.00, 0.04, 1.6, 0.40, 0.25, 0.21),
    34: HandsInFront(0.02, 0.01, 0.07, 0.00, 2.0, 0.06, 0.19, 0.24),
    # kick something, hop on one foot, jump up, stagger
    24: Footwork(0.01, 0.03, 0.28, 0.50, 0.0, 0.0, 0.05, 0.15, (1, 2)),
    26: Footwork(0.12, 0.05, 0.22, 0.02, 0.3, 0.0, 0.06, 0.12, (2, 4)),
    27: Footwork(0.18, 0.12, 0.12, 0.04, 0.9, 0.0, 0.02, 0.35, (1, 3)),
    42: Footwork(0.02, 0.04, 0.14, 0.14, 0.0, 0.9, 0.16, 0.15, (2, 4)),
    # punch, push, give something to, shake hands with another person
    50: Encounter(0.02, 0.0, 0.15, 0.00, 0.00, 0.03, 0.10, 0.16, (1, 2)),
    52: Encounter(0.10, 0.6, 0.30, 0.00, 0.00, 0.03, 0.18, 0.20, (1, 2)),
    56: Encounter(0.17, 0.1, 0.30, 0.00, 0.80, 0.12, 0.00, 0.08, (1, 1)),
    58: Encounter(0.26, 0.0, 0.60, 0.045, 1.00, 0.02, 0.00, 0.08, (1, 1)),
}
"""The movement behind each action number of NTU RGB+D."""

FAMILIES: Mapping[str, tuple[int, ...]] = {
    "hand to head": (1, 3, 28, 37),
    "hands in front": (10, 11, 12, 34),
    "legs": (24, 26, 27, 42),
    "two people": (50, 52, 56, 58),
}
"""The planted families, as action numbers of NTU RGB+D."""


@dataclass(frozen=True, slots=True)
class Style:
    """One person's way of moving, in every action."""

    tempo: float
    size: float
    lean: float
    """Usual pitch of the trunk, radians."""
    stoop: float
    """Usual pitch of the head."""
    elbow: float
    stance: float
    habit: FloatArray
    """(3,) offset of this person's hands from other people's, metres."""
    left_handed: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(
            tempo=float(np.exp(rng.normal(0, 0.15))),
            size=float(np.exp(rng.normal(0, 0.15))),
            lean=float(rng.normal(0.03, 0.05)),
            stoop=float(rng.normal(0.05, 0.08)),
            elbow=float(np.clip(rng.normal(0.35, 0.15), 0.0, 0.8)),
            stance=float(np.clip(rng.normal(0.22, 0.05), 0.12, 0.36)),
            habit=rng.normal(0, _HABIT_SPREAD, 3),
            left_handed=bool(rng.random() < 0.12),
        )


@dataclass(frozen=True, slots=True)
class Person:
    """A synthetic performer."""

    body: Proportions
    style: Style

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Self:
        return cls(Proportions.draw(rng), Style.draw(rng))


class Clip:
    """Time of one performance: begin, end, speed, and its random numbers."""

    def __init__(self, rng: np.random.Generator, frames: int, tempo: float) -> None:
        self.rng = rng
        self.frames = frames
        speed = np.exp(0.25 * drift(rng, frames, 1, 20)[:, 0])
        warped = np.cumsum(speed) / speed.sum()
        begin, end = rng.uniform(0.02, 0.25), rng.uniform(0.78, 1.05)
        self.phase = np.clip((warped - begin) / (end - begin), 0.0, 1.0)
        """(T,) 0 before the action, 1 after it."""
        self.seconds = warped * frames / FRAME_RATE * tempo

    def raised(self, rise: float, fall: float, delay: float = 0.0) -> FloatArray:
        """(T,) from 0 to 1 and back; rise and fall are fractions of the performance."""
        up = _smooth((self.phase - delay) / rise)
        down = _smooth((self.phase - (1 - fall)) / fall)
        return up * (1 - down)

    def wave(self, hertz: float) -> FloatArray:
        """(T,) sine with a random phase."""
        sine: FloatArray = np.sin(2 * np.pi * (hertz * self.seconds + self.rng.random()))
        return sine

    def strokes(self, count: int) -> FloatArray:
        """(T,) position within the current one of `count` equal strokes, from 0 to 1."""
        place: FloatArray = self._before_end() * count % 1.0
        return place

    def turn(self, count: int) -> FloatArray:
        """(T,) number of the current stroke, from 0."""
        turn: FloatArray = np.floor(self._before_end() * count)
        return turn

    def _before_end(self) -> FloatArray:
        before: FloatArray = np.minimum(self.phase, 1 - 1e-9)
        return before

    def size(self) -> float:
        return float(np.exp(self.rng.normal(0, _SIZE_SPREAD)))

    def pace(self) -> float:
        return float(np.exp(self.rng.normal(0, _PACE_SPREAD)))

    def place(self) -> FloatArray:
        return self.rng.normal(0, _PLACE_SPREAD, 3)

    def count(self, least_most: tuple[int, int]) -> int:
        return int(self.rng.integers(least_most[0], least_most[1] + 1))


def drift(rng: np.random.Generator, frames: int, channels: int, period: float) -> FloatArray:
    """(frames, channels) smooth noise of unit variance at its knots, which are `period` apart."""
    knots = rng.standard_normal((int(frames / period) + 2, channels))
    place = np.arange(frames) / period
    left = place.astype(int)
    weight = _smooth(place - left)[:, None]
    noise: FloatArray = knots[left] * (1 - weight) + knots[left + 1] * weight
    return noise


def perform(action: int, people: list[Person], rng: np.random.Generator) -> list[Pose]:
    """The poses of all who take part in one performance, each on a stage of its own.

    people: the performer, and a partner whom only two-person actions use.
    """
    shortest, longest = FRAMES
    frames = shortest + round((longest - shortest) * float(rng.beta(1.8, 2.4)))
    clip = Clip(rng, frames, people[0].style.tempo)
    movement = MOVEMENTS[action]
    if isinstance(movement, Encounter):
        return _encounter(movement, people, clip)
    pose = _at_ease(people[0], clip)
    if isinstance(movement, HandToHead):
        _hand_to_head(movement, people[0], clip, pose)
    elif isinstance(movement, HandsInFront):
        _hands_in_front(movement, people[0], clip, pose)
    else:
        _footwork(movement, people[0], clip, pose)
    return [pose]


def num_people(action: int) -> int:
    """Number of people in an action."""
    return 2 if isinstance(MOVEMENTS[action], Encounter) else 1


def _at_ease(person: Person, clip: Clip) -> Pose:
    """Standing with small involuntary movements."""
    style, body = person.style, person.body
    pose = Pose.standing(body, clip.frames, style.stance)
    noise = drift(clip.rng, clip.frames, 12, 25)
    pose.root[:, 0] += 0.012 * noise[:, 0]
    pose.root[:, 2] += 0.012 * noise[:, 1]
    pose.heading += 0.04 * noise[:, 2]
    pose.pitch += style.lean + 0.025 * noise[:, 3]
    pose.roll += 0.02 * noise[:, 4]
    pose.twist += 0.04 * noise[:, 5]
    pose.nod += style.stoop + 0.05 * noise[:, 6]
    pose.tilt += 0.03 * noise[:, 7]
    for side in (0, 1):
        pose.hands[side] += 0.02 * noise[:, 8 + 2 * side, None] + clip.place()
        pose.elbows[side] += 0.05 * noise[:, 9 + 2 * side]
    return pose


def _hand_to_head(movement: HandToHead, person: Person, clip: Clip, pose: Pose) -> None:
    side = _hand(person, clip)
    style, scale = person.style, person.body.stature / 1.70
    at_head = clip.raised(clip.rng.uniform(0.15, 0.35), clip.rng.uniform(0.15, 0.35))
    visits = clip.count(movement.visits)
    if visits > 1:
        away = np.cos(np.pi * clip.strokes(visits)) ** 8
        at_head *= 1 - clip.rng.uniform(0.2, 0.5) * away
    target = scale * np.array(movement.target) + clip.place() + style.habit
    sweep = style.size * clip.size() * np.array(movement.sweep)
    path = target + sweep * clip.wave(movement.pace * clip.pace())[:, None]
    _reach(pose, side, path, at_head)
    pose.elbows[side] += at_head * (style.elbow + clip.rng.normal(0, 0.1))
    pose.nod += at_head * (movement.nod + clip.rng.normal(0, 0.10))
    pose.tilt += SIDES[side] * at_head * (movement.tilt + clip.rng.normal(0, 0.05))
    if clip.rng.random() < 0.25:  # the other hand holds something before the belly
        _reach(pose, 1 - side, np.array([0.08, -0.25, -0.22]) + clip.place(), at_head)


def _hands_in_front(movement: HandsInFront, person: Person, clip: Clip, pose: Pose) -> None:
    writing = _hand(person, clip)
    style, scale = person.style, person.body.stature / 1.70
    in_front = clip.raised(clip.rng.uniform(0.12, 0.3), clip.rng.uniform(0.12, 0.3))
    middle = scale * np.array([0.0, -movement.height, -movement.forth])
    middle += clip.place() + style.habit
    hertz = movement.pace * clip.pace()
    beat = clip.wave(hertz)
    swing = movement.swing * clip.size() * style.size
    apart = movement.gap * clip.size() + swing * ((1 - beat) / 2) ** 2
    rub = movement.rub * clip.size() * style.size * clip.wave(hertz)
    scribble = movement.scribble * clip.size() * style.size
    for side in (0, 1):
        path = np.tile(middle, (clip.frames, 1))
        path[:, 0] = apart + SIDES[side] * middle[0]
        path[:, 1] += 0.5 * SIDES[side] * rub
        path[:, 2] += SIDES[side] * rub
        if side == writing:
            path[:, 0] += scribble * beat
            path[:, 2] += 0.5 * scribble * clip.wave(0.7 * hertz)
        _reach(pose, side, path, in_front)
        pose.elbows[side] += in_front * 0.6 * style.elbow
    pose.nod += in_front * (movement.nod + clip.rng.normal(0, 0.08))


def _footwork(movement: Footwork, person: Person, clip: Clip, pose: Pose) -> None:
    style, body = person.style, person.body
    free = _hand(person, clip)
    scale = style.size * body.stature / 1.70
    count = clip.count(movement.strokes)
    place = clip.strokes(count)
    stroke = np.sin(np.pi * np.clip((place - 0.2) / 0.6, 0, 1)) ** 2
    sink = np.sin(np.pi * np.clip(place / 0.3, 0, 1)) ** 2
    rise = scale * clip.size() * movement.bounce * stroke
    pose.root[:, 1] += rise - scale * clip.size() * movement.crouch * sink
    lift, forth = scale * movement.lift * clip.size(), scale * movement.forth * clip.size()
    slip = clip.place()
    turn = movement.turns * (clip.turn(count) % 2)
    other = np.clip(movement.other + clip.rng.normal(0, 0.12), 0, 1)
    for side in (0, 1):
        effort = stroke * (1 - turn if side == free else np.maximum(other, turn))
        pose.feet[side, :, 1] += rise + lift * effort
        pose.feet[side, :, 2] -= (forth + slip[2]) * effort
        pose.feet[side, :, 0] += slip[0] * effort
        pose.toes[side] += 0.5 * effort
        _swing_arm(movement, person, clip, pose, side, stroke)
    sway = (movement.sway + clip.rng.normal(0, 0.04)) * clip.size()
    pose.roll += sway * clip.raised(0.1, 0.1) * clip.wave(0.8 * clip.pace())
    pose.root[:, 0] += 0.5 * sway * drift(clip.rng, clip.frames, 1, 15)[:, 0]
    pose.root[:, 0] -= SIDES[free] * 0.06 * (1 - movement.other) * clip.raised(0.15, 0.15)
    pose.pitch += 0.8 * sink * movement.crouch + clip.rng.normal(0, 0.05) * stroke


def _swing_arm(
    movement: Footwork, person: Person, clip: Clip, pose: Pose, side: int, stroke: FloatArray
) -> None:
    swing = movement.arms * clip.size() * person.body.arm
    pose.hands[side, :, 1] += swing * stroke
    pose.hands[side, :, 2] -= 0.6 * swing * stroke
    pose.hands[side, :, 0] += SIDES[side] * 0.3 * swing * stroke


def _encounter(movement: Encounter, people: list[Person], clip: Clip) -> list[Pose]:
    poses = [_at_ease(person, clip) for person in people]
    actor, other = poses
    side = _hand(people[0], clip)
    count = clip.count(movement.strokes)
    place = clip.strokes(count)
    stay = np.clip(movement.stay + clip.rng.normal(0, 0.08), 0.05, 0.8)
    ramp = (0.9 - stay) / 2
    reach = _smooth(place / ramp) * (1 - _smooth((place - ramp - stay) / ramp))
    shake = movement.shake * clip.size() * clip.wave(2.0 * clip.pace())
    target = np.array([0.04, -movement.height, -0.50]) + clip.place() + people[0].style.habit
    path = np.tile(target, (clip.frames, 1))
    path[:, 1] += shake
    hands = (0, 1) if clip.rng.random() < movement.both_hands else (side,)
    for hand in hands:
        _reach(actor, hand, path, reach)
    actor.pitch += reach * (movement.lunge + clip.rng.normal(0, 0.05))
    if len(hands) == 1:  # the reaching shoulder leads
        actor.twist += 0.25 * SIDES[side] * reach

    delay = max(1, round(clip.frames * (movement.delay + clip.rng.uniform(0, 0.04))))
    late = np.concatenate([np.full(delay, reach[0]), reach[:-delay]])
    hit = movement.recoil * clip.size() * late
    other.root[:, 2] += hit
    other.feet[:, :, 2] += 0.7 * hit
    other.pitch -= 1.2 * hit
    answer = np.clip(movement.answer + clip.rng.normal(0, 0.12), 0, 1)
    _reach(other, _hand(people[1], clip), path, answer * late)
    return poses


def _hand(person: Person, clip: Clip) -> int:
    """The side a person uses this time: usually the dominant one."""
    dominant = 0 if person.style.left_handed else 1
    return 1 - dominant if clip.rng.random() < 0.05 else dominant


def _reach(pose: Pose, side: int, path: FloatArray, weight: FloatArray) -> None:
    """Moves a hand towards `path` (given for the hand's own side) as `weight` rises."""
    goal = path * np.array([SIDES[side], 1.0, 1.0])
    blend = weight[:, None]
    # halfway the hand moves to the front, round the trunk
    detour = np.array([0.0, 0.0, -0.12]) * (4 * blend * (1 - blend))
    pose.hands[side] = pose.hands[side] * (1 - blend) + goal * blend + detour


def _smooth(x: FloatArray) -> FloatArray:
    """0 up to x = 0, 1 from x = 1, with minimum jerk between (Flash and Hogan, 1985)."""
    x = np.clip(x, 0.0, 1.0)
    course: FloatArray = x**3 * (10 + x * (6 * x - 15))
    return course
