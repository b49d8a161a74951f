"""The manifest of a store: what every file of it must be. Written last, it is the commit point."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from pathlib import Path

NAME = "manifest.json"
SCHEMA = 1


class File(BaseModel):
    """One file of the store."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str


def _below(name: str) -> str:
    """The name; ValueError where it leads out of the store."""
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        raise ValueError(f"{name[:90]!r} is no file of a store")
    return name


Files = dict[Annotated[str, AfterValidator(_below)], File]
"""Files by their paths relative to the store."""


class Shard(BaseModel):
    """One shard: its file in every `frames/` array and the hash of its decoded rows."""

    model_config = ConfigDict(frozen=True)

    files: Files
    content: str
    """sha256 of the decoded rows of all arrays: equal for equal data, whatever the codec."""
    samples: int
    rows: int


class Manifest(BaseModel):
    """All files of a store."""

    schema_version: int = SCHEMA
    plan: str
    """Hash of what was to be made: sources, options, recipes."""
    shards: list[Shard] = Field(min_length=1)
    files: Files
    """Metadata, columns and tables."""

    @property
    def all_files(self) -> dict[str, File]:
        return {**self.files, **{k: f for shard in self.shards for k, f in shard.files.items()}}


def describe_file(path: Path) -> File:
    """Size and sha256 of a file; OSError where it cannot be read."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(bytes=path.stat().st_size, sha256=digest)


def load(store: Path) -> Manifest:
    """The manifest of a finished store.

    Raises AclnetError where there is no store, an unfinished one or one of another schema.
    """
    path = store / NAME
    if not path.is_file():
        raise AclnetError(_why_none(store))
    try:
        entry = json.loads(path.read_bytes())
        version = entry["schema_version"]
        if version != SCHEMA:
            raise AclnetError(
                f"{path}: schema {version!r:.40}, this aclnet reads schema {SCHEMA}; "
                "prepare the store again, or install the version that wrote it"
            )
        return Manifest.model_validate(entry)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = str(error).partition("\n")[0]
        raise AclnetError(f"{path} is damaged ({what}); prepare the store again") from None


def work_folder(store: Path) -> Path:
    """Where `aclnet prepare` builds the store until it is whole."""
    return store.with_name(store.name + ".wip")


def _why_none(store: Path) -> str:
    go_on = "run the same `aclnet prepare` command again, it goes on where it stopped"
    if not store.exists():
        if work_folder(store).is_dir():
            return f"{store} is unfinished; {go_on}"
        return f"{store}: there is no such store; `aclnet prepare` makes one"
    if any(folder.name.endswith(".wip") for folder in (store, *store.absolute().parents)):
        return f"{store} is a part of an unfinished store; {go_on}"
    return f"{store}: no {NAME}, so this is no aclnet store, or a damaged one; prepare it again"


def check_size(path: Path, file: File) -> str | None:
    """What is wrong with the file's presence or size; None where nothing is."""
    try:
        found = path.stat().st_size
    except OSError:
        return f"{path} is missing"
    return None if found == file.bytes else f"{path} has {found} bytes instead of {file.bytes}"
