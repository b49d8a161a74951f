"""Faults of the system: signals, limits, full and vanished disks, clocks."""

from __future__ import annotations

import random
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.stress.campaign import Tally
from tests.stress.scene import PATCHES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.stress.commands import Ended
    from tests.stress.scene import Scene, Subject

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
LIMITS = {
    "RLIMIT_FSIZE": ("largest size of a file", 2_000, 60_000),
    "RLIMIT_NOFILE": ("number of open files", 4, 60),
    "RLIMIT_AS": ("memory", 1 << 20, 200 << 20),
}
"""Limits of a process by name: description, and the tested range."""


def send_signals(scene: Scene, subject: Subject, number: int, seed: int) -> Tally:
    """Sends signals at changes of files, then repeats the command.

    The command must end with 128 plus the signal's number, or be done, and leave no lock.
    """
    tally, rng = Tally(f"signals to {subject.name}"), random.Random(seed)
    for n in range(number):
        number_sent, at = SIGNALS[n % len(SIGNALS)], rng.randrange(scene.changes[subject.name])
        with scene.place() as place:
            ended = scene.commands.run(
                *subject.arguments, folder=place, patches=PATCHES, at=at, signal=number_sent
            )
            where = f"{subject.name}, {number_sent.name} at {at}"
            left = [f.name for f in place.rglob("*.lock")] + [f.name for f in place.rglob("*.tmp")]
            if ended.code not in (0, 128 + number_sent) or "Traceback" in ended.err or left:
                tally.count(f"{where}: status {ended.code}, {left} left: {ended.err}")
            else:
                wrong = scene.again(subject, place)
                tally.count(wrong and f"{where}: {wrong}")
    return tally


def set_limits(scene: Scene, subject: Subject, name: str, number: int, seed: int) -> Tally:
    """Runs a command with a limit that is too small, or just enough, then without."""
    what, least, most = LIMITS[name]
    tally, rng = Tally(f"limit of the {what}, {subject.name}"), random.Random(f"{seed} {name}")
    for _ in range(number):
        limit = int(least * (most / least) ** rng.random())
        with scene.place() as place:
            ended = scene.commands.run(
                *subject.arguments, folder=place, patches=PATCHES, limits={name: limit}
            )
            # a library may end the process when its memory runs out
            died = name == "RLIMIT_AS" and ended.code in (-signal.SIGABRT, -signal.SIGSEGV)
            _judge(tally, scene, subject, place, f"{name} {limit}", ended, allowed=died)
    return tally


def vanish(scene: Scene, subject: Subject, name: str, number: int, seed: int) -> Tally:
    """Removes a command's input at changes of files, then restores it.

    Every other time an empty folder replaces it, as when a disk is not mounted.
    """
    tally, rng = Tally(f"{name} taken away from {subject.name}"), random.Random(seed)
    for n in range(number):
        at, vanishes = rng.randrange(scene.changes[subject.name]), name + "/" * (n % 2)
        with scene.place() as place:
            ended = scene.commands.run(
                *subject.arguments, folder=place, patches=PATCHES, at=at, vanishes=vanishes
            )
            link = place / name
            if link.is_dir() and not link.is_symlink():
                link.rmdir()
            if not link.is_symlink():
                link.symlink_to(scene.folder / name)
            _judge(tally, scene, subject, place, f"{vanishes} gone at {at}", ended)
    return tally


def turn_back_the_clock(scene: Scene, subject: Subject, number: int, seed: int) -> Tally:
    """Runs a command with a clock that goes back an hour at every look, killed and repeated."""
    tally, rng = Tally(f"clock going back in {subject.name}"), random.Random(seed)
    patches = PATCHES | {"time.time": "tests.stress.system:going_back"}
    for _ in range(number):
        at = rng.randrange(scene.changes[subject.name])
        with scene.place() as place:
            scene.commands.run(*subject.arguments, folder=place, patches=patches, at=at)
            wrong = scene.again(subject, place, patches)
            tally.count(wrong and f"killed at {at}: {wrong}")
    return tally


_now = [time.time()]


def going_back() -> float:
    """A clock that goes backwards."""
    _now[0] -= 3600
    return _now[0]


def fill_the_disk(scene: Scene, subject: Subject, number: int, seed: int) -> Tally:
    """Runs a command on a disk that is too small, then with room; needs the right to mount."""
    tally, rng = Tally(f"full disk, {subject.name}"), random.Random(seed)
    for _ in range(number):
        size = int(32_768 * 100 ** rng.random())
        with _disk(size) as disk, scene.place(disk) as place:
            ended = scene.commands.run(*subject.arguments, folder=place, patches=PATCHES)
            _mount(disk, "remount,size=1g")
            _judge(tally, scene, subject, place, f"a disk of {size} bytes", ended)
    return tally


def make_read_only(scene: Scene, subject: Subject, number: int, seed: int) -> Tally:
    """Makes the disk of a command read-only at any time; needs the right to mount."""
    tally, rng = Tally(f"disk read-only, {subject.name}"), random.Random(seed)
    for _ in range(number):
        wait = rng.uniform(0, 1.5)
        with _disk(1 << 30) as disk, scene.place(disk) as place:
            child = scene.commands.start(*subject.arguments, folder=place, patches=PATCHES)
            time.sleep(wait)
            while not _mount(disk, "remount,ro", check=False):  # a file is open for writing
                time.sleep(0.001)
            ended = child.wait()
            _mount(disk, "remount,rw")
            _judge(tally, scene, subject, place, f"read-only after {wait:.2f} s", ended)
    return tally


@contextmanager
def _disk(size: int) -> Iterator[Path]:
    """A disk in memory."""
    with tempfile.TemporaryDirectory() as name:
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", name], check=True)
        try:
            yield Path(name)
        finally:
            subprocess.run(["umount", "-l", name], check=True)


def can_mount() -> bool:
    """True if this process may mount disks."""
    try:
        with _disk(1 << 20):
            return True
    except (OSError, subprocess.CalledProcessError):
        return False


def _mount(disk: Path, options: str, *, check: bool = True) -> bool:
    done = subprocess.run(
        ["mount", "-o", options, disk], check=check, capture_output=not check, text=True
    )
    return done.returncode == 0


def _judge(
    tally: Tally,
    scene: Scene,
    subject: Subject,
    place: Path,
    where: str,
    ended: Ended,
    *,
    allowed: bool = False,
) -> None:
    """Counts a command that must have ended well or with a message, or in an `allowed` way.

    Repeated without the fault, it must make the right result.
    """
    if ended.code and not ended.told and not allowed:
        tally.count(f"{subject.name}, {where}: status {ended.code}: {ended.err}")
        return
    wrong = scene.again(subject, place)
    tally.count(wrong and f"{subject.name}, {where}: {wrong}", told=ended.told)
