"""The manifest of a store: size and hash of every file. Writing it last finishes the store.

A set of stores has a manifest too, which names its members.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from aclnet.datasets.spec import AclnetError

if TYPE_CHECKING:
    from aclnet.datasets.store.paths import StorePath

NAME = "manifest.json"
SCHEMA = 1
SET_SCHEMA: Final = "set/1"
"""Schema of the manifest of a set, which versions without sets refuse."""


class File(BaseModel):
    """One file of the store."""

    model_config = ConfigDict(frozen=True)

    bytes: int
    sha256: str


def is_below(name: str) -> bool:
    """Tells if a path with forward slashes stays below the folder that it is relative to."""
    return "\0" not in name and not any(part in ("", ".", "..") for part in name.split("/"))


def _below(name: str) -> str:
    """The name; raises ValueError if it leads out of the store."""
    if not is_below(name):
        raise ValueError(f"{name[:90]!r} is not a file of a store")
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
    """Hash of what determines the store: sources, options, recipes."""
    shards: list[Shard] = Field(min_length=1)
    files: Files
    """Metadata, columns and tables."""

    @property
    def all_files(self) -> dict[str, File]:
        return {**self.files, **{k: f for shard in self.shards for k, f in shard.files.items()}}


class Member(BaseModel):
    """One store of a set, and what its samples and classes are called in the set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    """Path relative to the folder of the set, with forward slashes; absolute; or an address."""
    digest: str
    """Identity of the store."""
    ids: str = ""
    """Text that the set puts before its ids."""
    classes: str = ""
    """Text that the set puts before the names of its classes."""
    people: int = 0
    """Number of a group of members: equal numbers of subjects in a group are the same person."""


class SetManifest(BaseModel):
    """The members of a set, and how they are joined."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal["set/1"] = SET_SCHEMA
    members: list[Member] = Field(min_length=1)
    joined: list[str] | None = None
    """Protocol of each member that the protocol `joined` is made of; None: its default."""
    names: dict[str, str] = {}
    """Names of classes in the set by their names in the members, where these differ."""
    plan: str = ""
    """Hash of the preparation that all members together are; empty: they are no parts of one."""

    @property
    def digest(self) -> str:
        """Identity of the set: the places of its members do not count."""
        values = self.model_dump(exclude={"members": {"__all__": {"path"}}})
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def describe_file(path: Path) -> File:
    """Size and sha256 of a file; raises OSError if it cannot be read."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return File(bytes=path.stat().st_size, sha256=digest)


def load(store: Path) -> Manifest:
    """The manifest of a finished store in a folder.

    Raises AclnetError if there is no store, an unfinished one, one with another schema, or a set.
    """
    return parse(read(store), store)


def read(store: Path) -> bytes:
    """The content of the manifest in a folder; AclnetError if there is no finished store."""
    path = store / NAME
    if not path.is_file():
        raise AclnetError(_why_none(store))
    return path.read_bytes()


def parse(content: bytes, store: StorePath) -> Manifest:
    """The manifest of a store from its content.

    Raises AclnetError if it is damaged or has another schema.
    """
    path = store / NAME
    try:
        entry = json.loads(content)
        version = entry["schema_version"]
        if version == SET_SCHEMA:
            SetManifest.model_validate(entry)
            raise AclnetError(f"{store} is a set of stores; aclnet.open_store opens it")
        if version != SCHEMA:
            raise AclnetError(
                f"{path}: schema {version!r:.40}, but this version of aclnet reads schema "
                f"{SCHEMA}; prepare the store again, or install the version that wrote it"
            )
        return Manifest.model_validate(entry)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        what = str(error).partition("\n")[0]
        raise AclnetError(f"{path} is damaged ({what}); prepare the store again") from None


def set_at(store: StorePath) -> SetManifest | None:
    """The manifest of the set at a path; None if there is none, or a damaged one.

    A set is a folder, whose members may be in an object store.
    """
    if not isinstance(store, Path):
        return None
    try:
        return SetManifest.model_validate_json((store / NAME).read_bytes())
    except (OSError, ValueError):
        return None


def work_folder(store: Path) -> Path:
    """Folder in which `aclnet prepare` builds the store until it is complete."""
    return store.with_name(store.name + ".wip")


def _why_none(store: Path) -> str:
    go_on = "run the same `aclnet prepare` command again to resume"
    if not store.exists():
        if work_folder(store).is_dir():
            return f"{store} is unfinished; {go_on}"
        return f"{store}: there is no such store; `aclnet prepare` makes one"
    if any(folder.name.endswith(".wip") for folder in (store, *store.absolute().parents)):
        return f"{store} is part of an unfinished store; {go_on}"
    if any(store.glob(f"*/{NAME}")):
        return f"{store} has no {NAME} yet; `aclnet finalise {store}` joins the stores below it"
    return (
        f"{store}: {NAME} is missing, so this is not an aclnet store, or it is damaged; prepare "
        "it again"
    )


def check_size(path: Path, file: File) -> str | None:
    """A fault of the file's presence or size, in words; None if both are right."""
    try:
        found = path.stat().st_size
    except OSError:
        return f"{path} is missing"
    return None if found == file.bytes else f"{path} has {found} bytes instead of {file.bytes}"
