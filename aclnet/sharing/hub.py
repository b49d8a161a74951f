"""Stores and runs on the Hugging Face Hub: a store is a data set there, a run is a model.

Files from the Hub may come from anybody. Only files that belong to a store or a run are
downloaded, their hashes are compared, and weights are loaded without unpickling objects.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from aclnet.datasets.formats import atomic, locks
from aclnet.datasets.spec import AclnetError, first_of, shown, silent
from aclnet.datasets.spec.user_code import names_code
from aclnet.datasets.store import manifest
from aclnet.datasets.store.joined import JoinedStore
from aclnet.datasets.store.manifest import describe_file, is_below
from aclnet.datasets.store.verify import verify
from aclnet.runs.network import load_model
from aclnet.runs.run import Run
from aclnet.runs.scores import Scores
from aclnet.runs.writing import naming
from aclnet.sharing.cards import README, card_files, opened
from aclnet.sharing.croissant import NAME as CROISSANT
from aclnet.sharing.croissant import SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    from aclnet.datasets.spec import Progress
    from aclnet.datasets.store.contents import StoreContents
    from aclnet.datasets.store.paths import StorePath
    from aclnet.datasets.store.store import Store

Kind = Literal["store", "run"]
REPO_TYPES: dict[Kind, Literal["dataset", "model"]] = {"store": "dataset", "run": "model"}
"""Names of the kinds on the Hub."""
_WORK = ".pull"
"""Suffix of the folder that collects a download until it is complete."""
_CACHE = ".cache"
"""Folder in which the client keeps its notes during a download."""
_CARD = (README, CROISSANT, SAMPLES)
_RECORD: dict[Kind, str] = {"store": manifest.NAME, "run": "run.json"}
_OF_RUNS = (
    *("run.json", "config.toml", "split.csv", "metrics.csv", "shape.npz", README),
    *("checkpoints/last.pt", "checkpoints/best.pt", "scores/*", "history.zarr/*"),
)
"""Files of a run that are shared. TensorBoard's events and results of the occlusion bench are not,
and neither is the checkpoint that the run did not select."""
_NAME = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)
_THREADS = 8


def push(path: Path, name: str, *, private: bool = False, license_id: str | None = None) -> str:
    """Uploads the store or run at `path` with its card in one commit; returns the commit's address.

    `name` is OWNER/NAME; the repository is made if there is none. A card in the folder is uploaded
    unchanged, and missing files of a card are made. The token is that of `hf auth login` or
    `$HF_TOKEN`; `$HF_ENDPOINT` is the address of another Hub.

    Raises AclnetError if the store or the run is damaged, if the run is not finished, if a public
    repository is to be `private`, or if the Hub refuses or cannot be reached.
    """
    source = opened(path)
    contents: dict[str, Path | bytes] = {file: path / file for file in _shared(source, path)}
    for file, content in card_files(source, license_id).items():
        contents[file] = path / file if (path / file).is_file() else content
    kind: Kind = "run" if isinstance(source, Run) else "store"
    with _hub(name) as api:
        from huggingface_hub import CommitOperationAdd

        repo_type = REPO_TYPES[kind]
        api.create_repo(name, repo_type=repo_type, private=private or None, exist_ok=True)
        if private and not api.repo_info(name, repo_type=repo_type).private:
            raise AclnetError(
                f"{name} exists already and is public, so nothing was uploaded; choose another "
                "name, or make it private on the Hub"
            )
        done = api.create_commit(
            name,
            [CommitOperationAdd(file, content) for file, content in contents.items()],
            commit_message=f"Upload a {kind} of aclnet",
            repo_type=repo_type,
        )
    return str(done.commit_url)


def pull(
    name: str,
    out: Path | None = None,
    *,
    kind: Kind | None = None,
    revision: str | None = None,
    progress: Progress = silent,
) -> Path:
    """Downloads the store or run OWNER/NAME, checks it, and returns its folder.

    The folder is `out`; by default `NAME.zarr` for a store and `NAME` for a run. `kind` is needed
    if the Hub has both. `revision` is a branch, a tag or a commit. After an interruption, the
    same call resumes. `progress` is called with the numbers of files done and of all files.

    Raises AclnetError if the folder already exists, if there is no such repository, if it holds
    neither, or if the files are damaged. The files of a store are compared with the hashes of its
    manifest. The settings, split file, selected checkpoint, history and map of body shape of a run
    are compared with the hashes of its record. Its scores and their tables have no hash: they are
    read. `metrics.csv` and the card are not checked. The hashes come from the same repository: they
    detect damage, but no forgery.
    """
    with _hub(name) as api:
        kind = kind or _kind(api, name)
        path = out or Path(name.partition("/")[2] + (".zarr" if kind == "store" else ""))
        if path.exists():
            raise AclnetError(f"{path} already exists; delete it, or choose another --out")
        work = path.with_name(path.name + _WORK)
        lock = work.with_name(f"{work.name}.lock")
        with locks.held(lock, f"{path} is being downloaded"):
            repository = _Repository(api, name, kind, revision)
            with naming(work):
                _begin(work, repository)
            _download(repository, work, progress)
            problems = _problems(work, kind)
            if problems:
                atomic.remove(work)  # the client would treat the damaged files as complete
                raise AclnetError(
                    f"{name}: the files from {api.endpoint} are damaged and were deleted: "
                    f"{first_of(problems, 2)}"
                )
            atomic.remove(work / _CACHE)
            work.rename(path)
    return path


class _Repository:
    """One commit of a repository."""

    def __init__(self, api: HfApi, name: str, kind: Kind, revision: str | None) -> None:
        self.api, self.name, self.kind = api, name, kind
        look_up = api.dataset_info if kind == "store" else api.model_info
        info = look_up(name, revision=revision)
        self.commit = str(info.sha)
        self.files = {file.rfilename for file in info.siblings or ()}
        if _RECORD[kind] not in self.files:
            raise AclnetError(f"{name} holds no {kind} of aclnet: it has no {_RECORD[kind]}")

    def fetch(self, file: str, folder: Path) -> None:
        """Downloads a file into a folder, if it is not complete there."""
        self.api.hf_hub_download(
            self.name,
            file,
            repo_type=REPO_TYPES[self.kind],
            revision=self.commit,
            local_dir=folder,
        )


def _begin(work: Path, repository: _Repository) -> None:
    """Makes the folder of a download, without the files of a download of another commit."""
    mark = work / _CACHE / "commit"
    commit = f"{repository.kind} {repository.name} {repository.commit}"
    if not (mark.is_file() and mark.read_text(encoding="utf-8") == commit):
        atomic.remove(work)
        mark.parent.mkdir(parents=True)
        mark.write_text(commit, encoding="utf-8")


def _download(repository: _Repository, work: Path, progress: Progress) -> None:
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    disable_progress_bars()  # the client's: one for each file
    try:
        repository.fetch(_RECORD[repository.kind], work)
        wanted = _wanted(repository, work)
        with ThreadPoolExecutor(_THREADS) as pool:
            jobs = [pool.submit(repository.fetch, file, work) for file in wanted]
            try:
                for done, job in enumerate(as_completed(jobs), start=1):
                    job.result()
                    progress("download", done, len(jobs))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    finally:
        enable_progress_bars()


def _wanted(repository: _Repository, work: Path) -> list[str]:
    """The files to download; their paths stay inside the folder."""
    if repository.kind == "store":
        listed = _files_of_store(repository, work)
        return sorted({*listed, *(repository.files & {*_CARD})})
    return [file for file in sorted(repository.files) if _is_shared(file)]


def _files_of_store(repository: _Repository, work: Path, below: str = "") -> Iterator[str]:
    """The files of a store that was shared, or of the members of a set."""
    record = manifest.set_at(work / below)
    if record is None:
        yield from (below + file for file in manifest.load(work / below).all_files)
        return
    for member in record.members:
        folder = f"{below}{_inside(work, member)}/"
        repository.fetch(folder + manifest.NAME, work)
        yield from _files_of_store(repository, work, folder)


def _inside(path: StorePath, member: manifest.Member) -> str:
    """Path of a member that lies in the folder of its set; raises AclnetError for any other."""
    if not is_below(member.path) or {*"\\:"} & {*member.path}:
        raise AclnetError(
            f"{path}: its member {shown(member.path)} lies outside of the folder of the set; share "
            "the members one by one"
        )
    return member.path


def _is_shared(file: str) -> bool:
    """Returns whether a file belongs to a shared run."""
    inside = not any(part in ("", ".", "..") for part in re.split(r"[/\\]", file))
    return inside and any(fnmatchcase(file, pattern) for pattern in _OF_RUNS)


def _shared(source: Store | Run, path: Path) -> Iterable[str]:
    """The files of a store or a run to upload; raises AclnetError if they are damaged."""
    problems = _problems(path, "run" if isinstance(source, Run) else "store")
    if problems:
        raise AclnetError(f"{path} is damaged and was not uploaded: {first_of(problems, 2)}")
    if not isinstance(source, Run):
        return _store_files(source)
    files = (f.relative_to(path).as_posix() for f in path.rglob("*") if f.is_file())
    chosen = f"checkpoints/{source.selected}.pt"
    return [f for f in sorted(files) if _is_shared(f) and (not f.endswith(".pt") or f == chosen)]


def _store_files(store: StoreContents, below: str = "") -> Iterator[str]:
    """The files of a store, or of a set and its members."""
    yield below + manifest.NAME
    if isinstance(store, JoinedStore):
        for one, member in zip(store.record.members, store.members, strict=True):
            yield from _store_files(member, f"{below}{_inside(store.path, one)}/")
    else:
        yield from (below + file for file in store.manifest.all_files)


def _problems(path: Path, kind: Kind) -> list[str]:
    """The damage of a store or a run, in words."""
    if kind == "store":
        return list(verify(path))
    try:
        run = Run(path)
        if names_code(run.config.model.name):  # which is not imported
            run.network_state()
        else:
            load_model(run)
        if run.history.path.is_dir() or run.history.path.name in (run.record.files or {}):
            run.history.read_all("temperature")
        run.load_shape()
        for file in sorted((path / "scores").glob("*.npz")):
            Scores.load(file)
            run.load_tables(file)
        _compare_split(run)
    except AclnetError as error:
        return [str(error)]
    return []


def _compare_split(run: Run) -> None:
    """Raises AclnetError if the run's `--split` file is missing or has changed."""
    file = run.split_file
    if file and (not file.is_file() or describe_file(file).sha256 != run.record.split.sha256):
        raise AclnetError(f"{file} is missing or differs from the file that the run was split by")


def _kind(api: HfApi, name: str) -> Kind:
    """Kinds that the Hub has under a name."""
    found = [kind for kind, of in REPO_TYPES.items() if api.repo_exists(name, repo_type=of)]
    if len(found) > 1:
        raise AclnetError(
            f"{name} is both a store and a run on {api.endpoint}: choose one with --kind"
        )
    if not found:
        raise AclnetError(
            f"{api.endpoint} has no {name}, or you have no access to it; check the name, and log "
            "in with `hf auth login` or $HF_TOKEN if it is private"
        )
    return found[0]


@contextmanager
def _hub(name: str) -> Iterator[HfApi]:
    """The Hub's client. Errors of the client in the block become AclnetError.

    Raises AclnetError for a name that is not OWNER/NAME, or without the packages.
    """
    if not _NAME.fullmatch(name):
        raise AclnetError(f"{shown(name)!r} is not a name on the Hub: OWNER/NAME is expected")
    try:
        import httpx2
        from huggingface_hub import HfApi, errors
    except ImportError:
        raise AclnetError("the Hub needs a further package: pip install 'aclnet[hub]'") from None
    api = HfApi(endpoint=os.environ.get("HF_ENDPOINT"))
    broken = (
        httpx2.HTTPError,
        ConnectionError,  # of the client's own transfer of large files, and of its offline mode
        errors.LocalEntryNotFoundError,
        errors.FileMetadataError,
        errors.XetDownloadError,
    )
    try:
        yield api
    except errors.HFValidationError as error:
        raise AclnetError(f"{name} is not a name on the Hub: {shown(error, 300)}") from None
    except (*broken, RuntimeError) as error:
        # the client wraps the error of an upload into a RuntimeError
        for found in (error, error.__cause__):
            if isinstance(found, errors.HfHubHTTPError):
                raise AclnetError(_refusal(api.endpoint, name, found)) from None
            if isinstance(found, broken):
                reason = shown(found, 300) or type(found).__name__
                raise AclnetError(
                    f"{api.endpoint} cannot be reached, or the connection broke ({reason}); run "
                    "the same command again"
                ) from None
        raise


def _refusal(endpoint: str, name: str, error: HfHubHTTPError) -> str:
    """Message for an error of the Hub, with a remedy."""
    status = error.response.status_code
    if status in (401, 403):
        return (
            f"{endpoint} refuses access to {name} (status {status}); log in with `hf auth login`, "
            "or set HF_TOKEN to a token that may write there"
        )
    what = shown(error.server_message or "no reason given", 300)
    if status == 404:
        return f"{endpoint} does not have {error.response.url.path.lstrip('/')} ({what})"
    return f"{endpoint} answered with status {status} ({what}); try again later"
