"""Upload of a finished store to an object store.

The manifest is the last object, so that the store cannot be opened before it is complete; plain
zarr finds it by the object before that, the root's metadata. While a process uploads, the object
`upload.json` names the process, and others are refused.
"""

from __future__ import annotations

import json
import os
import platform
import warnings
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple

from aclnet.datasets.formats.atomic import is_running
from aclnet.datasets.spec import AclnetError, AclnetWarning, first_of, silent
from aclnet.datasets.spec.records import Record
from aclnet.datasets.store import manifest, zarr_io
from aclnet.datasets.store.files import DamagedFileError, FolderFiles
from aclnet.datasets.store.objects import NoConditionsError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.objects import Bucket, StoredObject

State = Literal["nothing", "store", "unfinished", "foreign"]

_CLAIM = "upload.json"
_JOURNAL = "uploaded.jsonl"
_LOST_SECONDS = 600
"""An upload that wrote no object for so long counts as interrupted."""
_THREADS = 8


class _Claim(Record):
    """The process that uploads, or was interrupted."""

    plan: str
    """Hash of what determines the store, as in the manifest."""
    host: str
    process: int

    @property
    def has_ended(self) -> bool:
        """True if the process ran on this machine and has ended, or is this process."""
        if self.host != platform.node():
            return False
        # the lock on the work folder admits one upload of this process only
        return self.process == os.getpid() or not is_running(self.process)


class _Sent(NamedTuple):
    """An object as it was after this machine sent it."""

    sha256: str
    e_tag: str | None


def state_of(bucket: Bucket, plan: str, *, replace: bool = False) -> State:
    """State of the address for a store of this plan.

    Raises AclnetError if another process uploads there now, or, unless `replace`, if the address
    holds an interrupted upload of another plan.
    """
    found = bucket.list()
    if not found:
        return "nothing"
    claim = _open_claim(bucket, found)
    if claim is not None and manifest.NAME not in found and claim.plan != plan and not replace:
        raise AclnetError(
            f"{bucket.path} holds an unfinished store made from other files or with other options; "
            "finish it with those, or replace it with --overwrite"
        )
    if manifest.NAME in found:
        return "store"
    return "foreign" if claim is None else "unfinished"


def upload(
    store: Path, bucket: Bucket, work: Path, progress: Progress = silent, *, replace: bool = False
) -> None:
    """Writes the objects of the store in a folder.

    If it was interrupted, run the same call again to resume: objects that this machine sent and
    that have not changed are not sent again.

    Args:
        store: a finished store.
        bucket: its address.
        work: folder for the list of sent objects.
        progress: is called with the numbers of objects sent and of all objects.
        replace: replace a store or an interrupted upload of another plan.

    Raises:
        AclnetError: the address holds a store (without `replace`) or objects of another kind;
            another process uploads to it, or changed an object meanwhile; a file of the store is
            damaged; or the server reports an error.
    """
    listed = manifest.load(store)
    state = state_of(bucket, listed.plan, replace=replace)
    if state == "foreign" or (state == "store" and not replace):
        what = "a store" if state == "store" else "objects that are no store"
        raise AclnetError(
            f"{bucket.path} holds {what}, which another process wrote there meanwhile; "
            "choose another --out"
        )
    own = _claim(bucket, _Claim(plan=listed.plan, host=platform.node(), process=os.getpid()))
    bucket.delete([manifest.NAME, zarr_io.METADATA])  # nobody may open a mixture of two stores
    files = listed.all_files
    root = files.pop(zarr_io.METADATA)
    sent = _send(FolderFiles(store), files, bucket, work / _JOURNAL, progress)
    sent[zarr_io.METADATA] = _put(FolderFiles(store), zarr_io.METADATA, root, bucket)
    found = bucket.list()
    changed = [n for n, was in sent.items() if n not in found or found[n].e_tag != was.e_tag]
    if changed or _CLAIM not in found or found[_CLAIM].e_tag != own:
        raise AclnetError(
            f"{bucket.path}: another process wrote there during the upload "
            f"({first_of(changed) or _CLAIM}); run the same command again when that process has "
            "ended"
        )
    bucket.delete(found.keys() - sent.keys() - {_CLAIM})  # of an earlier store
    bucket.put(manifest.NAME, manifest.read(store))
    bucket.delete([_CLAIM])


def _open_claim(bucket: Bucket, found: Mapping[str, StoredObject]) -> _Claim | None:
    """Claim of an interrupted upload, or None; raises AclnetError if the upload still runs."""
    if _CLAIM not in found:
        return None
    try:
        claim = _Claim.model_validate_json(bucket.get(_CLAIM))
    except FileNotFoundError:
        return None
    except ValueError:
        raise AclnetError(f"{bucket.path / _CLAIM} is damaged; delete this object") from None
    last = max(entry.modified for entry in found.values())
    quiet = (datetime.now(UTC) - last).total_seconds()
    if quiet < _LOST_SECONDS and not claim.has_ended:
        raise AclnetError(
            f"{bucket.path} is being uploaded by another process ({claim.process} on "
            f"{claim.host}), which wrote {max(0, quiet):.0f} seconds ago; run the same command "
            f"again when that process has ended, or {_LOST_SECONDS // 60} minutes after its last "
            "object"
        )
    return claim


def _claim(bucket: Bucket, claim: _Claim) -> str | None:
    """Writes the claim, unless another process was faster; returns its e-tag."""
    content = claim.model_dump_json().encode()
    try:
        with suppress(FileExistsError):
            return bucket.put(_CLAIM, content, "create")
        interrupted = bucket.list()
        _open_claim(bucket, interrupted)
        try:
            return bucket.put(_CLAIM, content, {"e_tag": interrupted[_CLAIM].e_tag})
        except (FileExistsError, KeyError):
            raise AclnetError(
                f"{bucket.path} is being uploaded by another process; run the same command again "
                "when that process has ended"
            ) from None
    except NoConditionsError:
        warnings.warn(
            f"{bucket.path}: this server has no conditional writes, which keep two processes from "
            "writing the same store; make sure that it is written by this process alone",
            AclnetWarning,
            stacklevel=3,
        )
        return bucket.put(_CLAIM, content)


def _send(
    store: FolderFiles,
    files: Mapping[str, manifest.File],
    bucket: Bucket,
    journal: Path,
    progress: Progress,
) -> dict[str, _Sent]:
    """Sends what is not at the address; returns what was sent, now and before."""
    found, sent = bucket.list(), _read_journal(journal)
    missing = [
        name
        for name, file in files.items()
        if name not in sent
        or name not in found
        or (sent[name].sha256, sent[name].e_tag) != (file.sha256, found[name].e_tag)
        or found[name].size != file.bytes
    ]
    done = len(files) - len(missing)
    progress("upload", done, len(files))
    with journal.open("a", encoding="utf-8") as lines, ThreadPoolExecutor(_THREADS) as pool:
        jobs = {pool.submit(_put, store, name, files[name], bucket): name for name in missing}

        def note(job: Future[_Sent]) -> None:
            name = jobs.pop(job)
            sent[name] = job.result()
            lines.write(json.dumps([name, *sent[name]]) + "\n")
            lines.flush()

        try:
            for job in as_completed([*jobs]):
                note(job)
                done += 1
                progress("upload", done, len(files))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            for job in [job for job in jobs if not job.cancelled() and job.exception() is None]:
                note(job)  # it ended meanwhile, and need not be sent again
            raise
    return {name: sent[name] for name in files}


def _put(store: FolderFiles, name: str, file: manifest.File, bucket: Bucket) -> _Sent:
    try:
        content = store.read(name, file)
    except DamagedFileError as fault:
        raise AclnetError(f"{fault}; run the same command again with --overwrite") from None
    return _Sent(file.sha256, bucket.put(name, content))


def _read_journal(journal: Path) -> dict[str, _Sent]:
    """The objects that were sent, by name; a line that a crash cut off is left out."""
    sent = {}
    with suppress(FileNotFoundError):
        for line in journal.read_text(encoding="utf-8").splitlines():
            with suppress(ValueError, TypeError):
                name, *was = json.loads(line)
                sent[name] = _Sent(*was)
    return sent
