"""Writing a set of recordings, some of them spoilt: what the generators of small files share."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from aclnet.datasets.spec.errors import AclnetError
from aclnet.datasets.synth import Summary, check_range
from aclnet.datasets.synth.scenes import rng_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from aclnet.datasets.synth.body import FloatArray

    Encode = Callable[[str, FloatArray], bytes]
    """The content of the file of that path that holds (T, V, C) values."""

DAMAGES = ("truncated", "joint count", "not finite", "empty", "garbage")
"""Ways of spoiling a file, dealt out in turn."""


def choose(names: Iterable[str], count: int, seed: int) -> list[str]:
    """At most `count` of the names, sorted; which ones follows from the seed and the names."""
    known = sorted(names)
    order = rng_for(seed, "chosen", *known).permutation(len(known))[:count]
    return sorted(known[i] for i in order)


def write_recordings(
    folder: Path,
    paths: Sequence[str],
    make: Callable[[str], FloatArray],
    encode: Encode,
    *,
    seed: int,
    damage: float,
    progress: Callable[[int, int], None],
    damages: Sequence[str] = DAMAGES,
) -> Summary:
    """Writes a file for each path, relative to `folder`, with the (T, V, C) that `make` gives.

    Raises AclnetError where `damage` is no share and where the folder cannot be written.
    """
    check_range("damage", damage, 0, 1)
    order = rng_for(seed, "damaged", *paths).permutation(len(paths))[: round(damage * len(paths))]
    spoilt = {paths[i]: damages[turn % len(damages)] for turn, i in enumerate(order)}
    for done, path in enumerate(paths, start=1):
        values = make(path)
        rng = rng_for(seed, "damage", path)
        of_file = partial(encode, path)
        content = spoil(values, spoilt[path], of_file, rng) if path in spoilt else of_file(values)
        write_file(folder / path, content)
        progress(done, len(paths))
    return Summary(len(paths), tuple(sorted(spoilt)))


def write_file(path: Path, content: bytes) -> None:
    """A file, and the folders it needs; AclnetError where that cannot be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise AclnetError(f"cannot write {path}: {error.strerror}") from error


def spoil(
    values: FloatArray,
    kind: str,
    encode: Callable[[FloatArray], bytes],
    rng: np.random.Generator,
) -> bytes:
    """What is left of a recording (T, V, C) after damage of a kind of DAMAGES, or `no person`."""
    if kind == "empty":
        return b""
    if kind == "garbage":
        return rng.bytes(4096)
    if kind == "no person":
        return encode(np.zeros_like(values))
    if kind == "joint count":
        return encode(values[:, :-1])
    if kind == "not finite":
        values = values.copy()
        values[tuple(rng.integers(values.shape))] = np.nan
        return encode(values)
    content = encode(values)
    cut = int(len(content) * rng.uniform(0.3, 0.9))
    begin = content.rfind(b"\n", 0, cut) + 1
    end = content.find(b"\n", cut)
    return content[: (begin + (len(content) if end < 0 else end)) // 2]  # half a line is left


def text_rows(rows: FloatArray, separator: str = " ") -> bytes:
    """(N, columns) numbers as a line a row."""
    return "".join(f"{separator.join(f'{v:.7g}' for v in row)}\n" for row in rows.tolist()).encode()
