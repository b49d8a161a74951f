"""Writing files: one for each recording, or one for each frame of it, some of them damaged."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from aclnet.datasets.spec import AclnetError, silent
from aclnet.datasets.synth.damage import DAMAGES, deal_damage, spoil
from aclnet.datasets.synth.request import Request, Summary
from aclnet.datasets.synth.seeding import choose, rng_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.synth.body import FloatArray

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileForm(Generic[T]):
    """A form with one file for each recording. An instance is a `Generate`."""

    recordings: Callable[[Request], Mapping[str, T]]
    """The recordings to write, by the path of the file."""
    record: Callable[[int, T], FloatArray]
    """Values (T, V, C) of a recording, from the seed and the recording."""
    encode: Callable[[T, FloatArray], bytes]
    """Content of the file."""
    damages: Sequence[str] = DAMAGES
    beside: Callable[[Request], Mapping[str, bytes]] = lambda _: {}
    """Further files, such as an index, by path."""

    def __call__(self, folder: Path, request: Request, progress: Progress = silent) -> Summary:
        """Writes the recordings and the files beside them."""
        recordings, seed = self.recordings(request), request.seed
        paths = [*recordings]
        damaged = deal_damage(seed, request.damage, paths, self.damages, paths)
        for done, (path, recording) in enumerate(recordings.items(), start=1):
            values = self.record(seed, recording)
            encode = partial(self.encode, recording)
            rng = rng_for(seed, "damage", path)
            write_file(folder / path, spoil(values, damaged.get(path), encode, rng))
            progress("write", done, len(paths))
        for path, content in self.beside(request).items():
            write_file(folder / path, content)
        return Summary(len(paths), damaged)


def named_files(
    path: str, names: Callable[[int], Iterable[str]], least_subjects: int = 1
) -> Callable[[Request], dict[str, str]]:
    """The `recordings` of a form whose files are called after the recordings.

    path: path of a file, `{}` for the name. names: all names of a number of subjects.
    """

    def recordings(request: Request) -> dict[str, str]:
        request.require_subjects(least_subjects)
        known = {path.format(name): name for name in names(request.subjects)}
        return {path: known[path] for path in choose(request.seed, known, request.sequences)}

    return recordings


def write_frames(
    folder: Path,
    values: FloatArray,
    path: Callable[[int], str],
    encode: Callable[[int, FloatArray], bytes],
    damage: str | None,
    rng: np.random.Generator,
) -> str:
    """Writes (T, V, C) values as one file for each frame, and damages one frame on request.

    path, encode: path and content of a frame's file, from its number and values (1, V, C).
    Returns the path of the damaged file, or an empty text.
    """
    bad = int(rng.integers(len(values))) if damage else -1
    for frame in range(len(values)):
        kind = damage if frame == bad else None
        content = spoil(values[frame : frame + 1], kind, partial(encode, frame), rng)
        write_file(folder / path(frame), content)
    return path(bad) if damage else ""


def write_file(path: Path, content: bytes) -> None:
    """Writes a file and creates its folders; raises AclnetError if this fails."""
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


@contextmanager
def write_errors(what: Path | str) -> Iterator[None]:
    """Raises AclnetError that `what` cannot be written in place of an OSError."""
    try:
        yield
    except OSError as error:
        raise AclnetError(f"cannot write {what}: {error.strerror}") from error


def text_rows(rows: FloatArray, separator: str = " ") -> bytes:
    """(N, columns) numbers as one line for each row."""
    return "".join(f"{separator.join(f'{v:.7g}' for v in row)}\n" for row in rows.tolist()).encode()


def npy(values: NDArray[Any]) -> bytes:
    """An array as the content of a `.npy` file."""
    file = BytesIO()
    np.save(file, values)
    return file.getvalue()
