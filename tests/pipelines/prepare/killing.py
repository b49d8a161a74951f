"""Commands that are killed at a chosen moment, and manifests to compare what they make."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

from aclnet.datasets.store import manifest

if TYPE_CHECKING:
    from pathlib import Path


def manifest_of(store: Path) -> bytes:
    return (store / manifest.NAME).read_bytes()


KILLER = """
import importlib, os, signal, sys
from aclnet.cli.main import main
from aclnet.pipelines.prepare import preparation
preparation._BATCH_ITEMS = 3
place, text, count, when = sys.argv[1:5]
module, _, name = place.partition(":")
owner = importlib.import_module(module)
*path, name = name.split(".")
for step in path:
    owner = getattr(owner, step)
original, seen = getattr(owner, name), 0

def counted(*args, **kwargs):
    global seen
    hit = text in repr(args)
    seen += hit
    if hit and seen == int(count) and when == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    result = original(*args, **kwargs)
    if hit and seen == int(count):
        os.kill(os.getpid(), signal.SIGKILL)
    return result

setattr(owner, name, counted)
main(sys.argv[5:])
"""

MOMENTS = {
    "before any fragment": ("aclnet.pipelines.prepare.fragments:make_fragment", "", 1, "before"),
    "in a part": ("aclnet.pipelines.prepare.fragments:_write", "", 2, "after"),
    "after some fragments": ("aclnet.pipelines.prepare.fragments:make_fragment", "", 3, "after"),
    "between the arrays": ("aclnet.datasets.store.zarr_io:create_frames", "", 2, "before"),
    "in a shard's file": ("pathlib:Path.replace", "keypoint/c/4", 1, "before"),
    "in a receipt": ("pathlib:Path.replace", "shards/0000/000003.json", 1, "before"),
    "after some shards": ("aclnet.pipelines.prepare.shards:make_shard", "", 5, "after"),
    "in a column": ("pathlib:Path.replace", "samples/label/c", 1, "before"),
    "before the metadata are gathered": (
        "aclnet.datasets.store.zarr_io:consolidate",
        "",
        1,
        "before",
    ),
    "in the manifest": ("pathlib:Path.replace", "manifest.json", 1, "before"),
    "before the rename": ("aclnet.pipelines.prepare.stages:_put_into_place", "", 1, "before"),
    "after the rename": ("aclnet.pipelines.prepare.stages:remove", ".wip'", 1, "before"),
}


def killed(moment: tuple[str, str, int, str], *arguments: str) -> None:
    place, text, count, when = moment
    command = [sys.executable, "-c", KILLER, place, text, str(count), when, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
