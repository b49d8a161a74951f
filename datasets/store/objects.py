"""Objects of a store in an S3-compatible object store, with time-outs, retries and plain errors.

Credentials, region and endpoint come from the usual environment variables (`AWS_ACCESS_KEY_ID`,
`AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT_URL`, ...), which obstore reads.
"""

from __future__ import annotations

import os
import random
import re
import time
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from aclnet.datasets.spec import AclnetError, shown
from aclnet.datasets.store import manifest as manifests
from aclnet.datasets.store.disk_cache import default_disk_cache
from aclnet.datasets.store.files import DamagedFileError, fault_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from datetime import datetime

    from obstore import PutMode
    from obstore.store import S3Store

    from aclnet.datasets.store.disk_cache import DiskCache
    from aclnet.datasets.store.paths import ObjectPath, StorePath

PATIENCE_VARIABLE = "ACLNET_S3_PATIENCE"
_PATIENCE = 180.0
"""Seconds for which a request is tried again."""
_CONNECT_SECONDS, _SILENT_SECONDS, _LONGEST_SECONDS = 10, 60, 24 * 3600
"""Limits for connecting, for an answer without new data, and for a whole request."""
_SLOWEST_BYTES = 50_000
"""Bytes a second of the slowest connection that can upload: no answer comes before the end."""
_FIRST_WAIT, _LONGEST_WAIT = 0.25, 15.0
_WRONG_CONTENTS = 3
"""Number of times an object with wrong content is fetched: the connection or the object may be at
fault."""
_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_TOKEN")
_CREDENTIALS = (
    *("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE"),
    *("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI"),
)
_LATER = (0, 408, 425, 429)
"""Statuses below 500 of requests that may succeed later; 0 stands for no answer."""
_REASONS = (
    (r"<Code>([^<]*)</Code>\s*<Message>([^<]+)</Message>", r"\1: \2"),
    (r"<Code>([^<]*)</Code>", r"\1"),
    (r'message: "([^"]*)"', r"\1"),
    (r'error: "([^"]*)"', r"\1"),
    (r"kind: Timeout|TimedOut", "the server did not answer in time"),
    (r"IncompleteBody|kind: Interrupted", "the answer was cut off"),
    (r"IncompleteMessage", "the connection was closed"),
)
"""Patterns in the client's messages, and how their reason is told; the first one counts."""
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_T = TypeVar("_T")


class StoredObject(NamedTuple):
    """An object as the server lists it."""

    size: int
    """Bytes."""
    e_tag: str | None
    """Identifies this version of the content."""
    modified: datetime
    """Time of the last change, by the server's clock."""


class NoConditionsError(Exception):
    """The server does not know conditional writes."""


class Bucket:
    """The objects below an address. Their names are relative to it.

    A request fails if no data arrive for a minute, so that a slow connection can read an object of
    any size. An upload has more time for a larger object. A request that fails by time-out, by a
    broken connection or with a status from 500 is repeated with growing waits, for
    `$ACLNET_S3_PATIENCE` seconds (180).

    All methods raise AclnetError, which names the address, if the server refuses or cannot be
    reached, if there is no such bucket, and for missing packages or credentials.
    """

    def __init__(self, path: ObjectPath) -> None:
        self.path = path
        self.patience = _patience()
        try:
            import obstore
            from obstore import exceptions
        except ImportError:
            raise AclnetError(f"{path} needs further packages: pip install 'aclnet[s3]'") from None
        self._obstore: Any = obstore
        self._errors: Any = exceptions
        self._clients: dict[int, S3Store] = {}

    @property
    def _store(self) -> S3Store:
        return self._client(_SILENT_SECONDS)

    def _client(self, silent: int) -> S3Store:
        """The client whose requests fail if no data arrive for `silent` seconds."""
        if silent not in self._clients:
            self._clients[silent] = self._connected(silent)
        return self._clients[silent]

    def _connected(self, silent: int) -> S3Store:
        from datetime import timedelta

        from obstore.store import S3Store

        return S3Store(
            self.path.bucket,
            prefix=self.path.key,
            client_options={
                "allow_http": _endpoint().startswith("http:"),
                "connect_timeout": timedelta(seconds=_CONNECT_SECONDS),
                "read_timeout": timedelta(seconds=silent),
                "timeout": timedelta(seconds=_LONGEST_SECONDS),
            },
            # the waits are ours, because a response that was cut off must be repeated too
            retry_config={"max_retries": 0},
        )

    def get(self, name: str) -> bytes:
        """The content of an object; raises FileNotFoundError if there is none."""

        def fetch() -> bytes:
            return bytes(self._obstore.get(self._store, name).bytes())

        return self._patiently(name, fetch)

    def put(self, name: str, content: bytes, mode: PutMode = "overwrite") -> str | None:
        """Writes an object at once and returns its e-tag.

        Raises FileExistsError if `mode` is `create` and there is one already, or if `mode` names
        the e-tag of an object that was changed; NoConditionsError if the server does not know such
        conditions.
        """

        def send() -> str | None:
            store = self._client(_upload_seconds(len(content)))
            found = self._obstore.put(store, name, content, mode=mode, use_multipart=False)
            return found["e_tag"]  # type: ignore[no-any-return]

        return self._patiently(name, send, conditional=mode != "overwrite")

    def list(self) -> dict[str, StoredObject]:
        """All objects by name."""

        def collect() -> dict[str, StoredObject]:
            return {
                entry["path"]: StoredObject(entry["size"], entry["e_tag"], entry["last_modified"])
                for chunk in self._obstore.list(self._store)
                for entry in chunk
            }

        return self._patiently("", collect)

    def delete(self, names: Iterable[str]) -> None:
        """Deletes objects, if they exist."""
        wanted = [*names]
        if wanted:
            self._patiently(wanted[0], lambda: self._obstore.delete(self._store, wanted))

    def _patiently(self, name: str, act: Callable[[], _T], *, conditional: bool = False) -> _T:
        """The result of a request, which is repeated as long as it may succeed later."""
        errors = self._errors
        began, wait = time.monotonic(), _FIRST_WAIT
        while True:
            try:
                return act()
            except (errors.AlreadyExistsError, errors.PreconditionError):
                raise FileExistsError(str(self.path / name)) from None
            except (errors.BaseError, OSError) as error:
                unknown = isinstance(error, errors.NotSupportedError) or _status(error) == 501
                if conditional and unknown:
                    raise NoConditionsError(str(self.path / name)) from None
                if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                    raise
                if lasting := self._lasting(error):
                    raise self._error(lasting) from None
                left = began + self.patience - time.monotonic()
                if left <= 0:
                    raise self._unreachable(name, error) from None
            # the waits of several processes must differ
            time.sleep(min(left, wait * random.uniform(0.5, 1)))
            wait = min(2 * wait, _LONGEST_WAIT)

    def _lasting(self, error: Exception) -> str | None:
        """The reason, with a remedy, if a request fails in the same way each time; else None."""
        said, errors = _told(error), self._errors
        if "NoSuchBucket" in str(error):
            return f"there is no bucket {self.path.bucket}"
        if isinstance(error, errors.PermissionDeniedError | errors.UnauthenticatedError):
            return (
                f"access is refused ({said}); check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, and "
                "what they may read and write"
            )
        if not any(os.environ.get(name) for name in _CREDENTIALS) and (
            "169.254.169.254" in str(error) or "latest/api/token" in str(error)
        ):
            return (
                "there are no credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (for a "
                'profile of the AWS CLI: eval "$(aws configure export-credentials --format env)"), '
                "or AWS_SKIP_SIGNATURE=true for a public bucket"
            )
        if "Missing SecretAccessKey" in said or "Missing AccessKeyId" in said:
            return f"{said}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        status = _status(error)
        refused = status == 501 or (status < 500 and status not in _LATER)
        if refused or isinstance(error, errors.InvalidPathError):
            return f"the request is refused ({said}); check AWS_REGION and AWS_ENDPOINT_URL"
        return None

    def _unreachable(self, name: str, error: Exception) -> AclnetError:
        return AclnetError(
            f"{self.path / name}: {_endpoint() or 'the server'} did not send a proper answer for "
            f"{self.patience:g} seconds ({_told(error)}); check the network and AWS_ENDPOINT_URL, "
            "and run the same command again"
        )

    def _error(self, why: str) -> AclnetError:
        return AclnetError(f"{self.path}: {why}")


class ObjectFiles:
    """The files of a store in an object store, see `aclnet.datasets.store.files.StoreFiles`."""

    distant = True

    def __init__(self, path: ObjectPath, *, cached: bool = True) -> None:
        self.path: StorePath = path
        self.bucket = Bucket(path)
        self._cache: DiskCache | None = default_disk_cache() if cached else None

    def __reduce__(self) -> tuple[Any, ...]:
        # another process connects anew: credentials must not be in what is sent to it
        return partial(type(self), cached=self._cache is not None), (self.path,)

    def listing(self) -> bytes:
        try:
            return self.bucket.get(manifests.NAME)
        except FileNotFoundError:
            raise AclnetError(
                f"{self.path}: there is no {manifests.NAME}, so this is not a store, or the store "
                "is unfinished; `aclnet prepare` writes or finishes it"
            ) from None

    def wrong_sizes(self, files: Mapping[str, manifests.File]) -> Iterator[str]:
        found = self.bucket.list()
        for name, file in files.items():
            if name not in found:
                yield f"{self.path / name} is missing"
            elif found[name].size != file.bytes:
                yield f"{self.path / name} has {found[name].size} bytes instead of {file.bytes}"

    def read(self, name: str, file: manifests.File, *, compare: bool = True) -> bytes:
        def fetch() -> bytes:
            return self._fetch(name, file)

        if self._cache is None:
            return fetch()
        return self._cache.read(file, fetch, compare=compare, patience=self.bucket.patience)

    def _fetch(self, name: str, file: manifests.File) -> bytes:
        fault: str | None = None
        for _ in range(_WRONG_CONTENTS):
            try:
                content = self.bucket.get(name)
            except FileNotFoundError:
                raise DamagedFileError(f"{self.path / name} is missing") from None
            fault = fault_of(content, file)
            if fault is None:
                return content
        raise DamagedFileError(f"{self.path / name} {fault}")


def _upload_seconds(size: int) -> int:
    """Limit for the upload of an object of `size` bytes. Doubling it needs few clients."""
    seconds = _SILENT_SECONDS
    while seconds * _SLOWEST_BYTES < size:
        seconds *= 2
    return seconds


def _patience() -> float:
    text = os.environ.get(PATIENCE_VARIABLE, "")
    try:
        seconds = float(text or _PATIENCE)
    except ValueError:
        seconds = -1
    if not 0 <= seconds < float("inf"):
        raise AclnetError(f"{PATIENCE_VARIABLE}={shown(text)}: a number of seconds is expected")
    return seconds


def _endpoint() -> str:
    """Scheme, host and port of the endpoint that the environment names, without a password."""
    address = next((os.environ[name] for name in _ENDPOINTS if os.environ.get(name)), "")
    scheme, _, host = address.partition("://")
    if address and (scheme not in ("http", "https") or not host):
        raise AclnetError(
            f"AWS_ENDPOINT_URL={shown(address)} is not an address such as http(s)://HOST"
        )
    return f"{scheme}://{host.rpartition('@')[2]}" if host else ""


def _status(error: Exception) -> int:
    """The status of the server's answer, 0 if there was none."""
    text = str(error)
    if "incorrectly configured region" in text:  # a redirect, which the client does not follow
        return 301
    found = re.search(r"status(?: code)?:? (\d{3})", text)
    return int(found[1]) if found else 0


def _told(error: Exception) -> str:
    """The reason of an error in a few words, without keys of the environment."""
    text = str(error)
    for name in _SECRETS:
        if os.environ.get(name):
            text = text.replace(os.environ[name], "***")
    for pattern, words in _REASONS:
        if found := re.search(pattern, text):
            return shown(found.expand(words), 300)
    first, _, _ = text.partition("\n")
    return shown(first.rpartition(" - ")[2] or type(error).__name__, 300)
