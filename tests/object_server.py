"""A server on loopback that speaks S3's protocol, with faults on request.

Objects are in memory. Only what a client of one bucket needs is there: GET, PUT with conditions,
DELETE of many, and lists in pages.
"""

from __future__ import annotations

import hashlib
import re
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from pathlib import Path

KEY_ID, SECRET = "AKIATESTKEYOFNOBODY", "this-is-the-secret-of-nobody"
BUCKET = "skeletons"
_CODES = {"301": "PermanentRedirect", "500": "InternalError", "501": "NotImplemented"}
PAGE = 40
"""Objects in a page of a list; S3 has 1,000."""


class Stored(NamedTuple):
    content: bytes
    modified: datetime

    @property
    def e_tag(self) -> str:
        return f'"{hashlib.md5(self.content).hexdigest()}"'


@dataclass
class Fault:
    """Fault of the requests whose method and key match."""

    kind: str
    """A status of `_CODES`, `cut` (half of the body arrives), `slow`, `reset` (no answer), `flip`
    (a wrong bit) or `trickle` (`seconds` pass after each of eight pieces)."""
    method: str = "GET"
    key: str = ""
    """Regular expression that is searched in the key."""
    times: int = 1
    seconds: float = 0.0
    after: int = 0
    """Number of such requests that are answered properly before."""


@dataclass
class ObjectServer:
    """The server and its objects; `with server:` runs it."""

    objects: dict[str, Stored] = field(default_factory=dict)
    """Contents by key."""
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[str, str]] = field(default_factory=list)
    """Method and key of each request."""
    port: int = 0

    def __post_init__(self) -> None:
        self.lock = threading.Lock()
        self._http: ThreadingHTTPServer | None = None

    def start(self) -> None:
        handler = type("Handler", (_Handler,), {"owner": self})
        self._http = _Server(("127.0.0.1", self.port), handler)
        self.port = self._http.server_port
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Ends the server and all its connections; its objects stay."""
        if self._http is not None:
            self._http.shutdown()
            self._http.server_close()
            self._http.close_connections()
            self._http = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """Variables by which clients find the server."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": KEY_ID,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def count(self, method: str, key: str = "") -> int:
        """Number of requests of a method whose key a regular expression is found in."""
        return sum(m == method and bool(re.search(key, k)) for m, k in self.requests)

    def put(self, key: str, content: bytes) -> None:
        self.objects[key] = Stored(content, datetime.now(UTC))

    def put_folder(self, folder: Path, key: str) -> str:
        """Puts the files of a store below a key, as a plain copy; returns the address."""
        for file in folder.rglob("*"):
            if file.is_file():
                self.put(f"{key}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"s3://{BUCKET}/{key}"

    def fault_for(self, method: str, key: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.method == method and fault.times and re.search(fault.key, key):
                    fault.after -= 1
                    if fault.after < 0:
                        fault.times -= 1
                        return fault
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        super().server_bind()
        self._connections: set = set()

    def process_request(self, request, client_address) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def close_connections(self) -> None:
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address) -> None:
        """A client or `close_connections` broke the connection."""


class _Handler(BaseHTTPRequestHandler):
    owner: ObjectServer
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._answer()

    def do_PUT(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Keeps silent."""

    def _answer(self) -> None:
        address = urlsplit(self.path)
        bucket, _, key = unquote(address.path).lstrip("/").partition("/")
        query = parse_qs(address.query, keep_blank_values=True)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.owner.requests.append((self.command, key))
        fault = self.owner.fault_for(self.command, key)
        kind = fault.kind if fault else ""
        if kind == "slow":
            time.sleep(fault.seconds)
        if kind == "reset":
            self.close_connection = True
            self.connection.close()
            return
        if kind in _CODES:
            self._fail(int(kind), _CODES[kind])
        elif f"Credential={KEY_ID}/" not in self.headers.get("Authorization", ""):
            self._fail(403, "InvalidAccessKeyId", f"the key {self.headers.get('Authorization')}")
        elif bucket != BUCKET:
            self._fail(404, "NoSuchBucket", "The specified bucket does not exist")
        elif self.command == "PUT":
            self._put(key, body)
        elif self.command == "POST":
            self._delete(body)
        elif key:
            self._get(key, kind, fault.seconds if kind == "trickle" else 0)
        else:
            self._list(query)

    def _get(self, key: str, kind: str, pause: float) -> None:
        stored = self.owner.objects.get(key)
        if stored is None:
            self._fail(404, "NoSuchKey", "The specified key does not exist.")
            return
        content = stored.content
        if kind == "flip":
            content = bytes([content[0] ^ 1]) + content[1:]
        self._send(200, content, stored, cut=kind == "cut", pause=pause)

    def _put(self, key: str, body: bytes) -> None:
        found, none_match = self.owner.objects.get(key), self.headers.get("If-None-Match")
        match = self.headers.get("If-Match")
        if hashlib.sha256(body).hexdigest() != self.headers["x-amz-content-sha256"]:
            self._fail(400, "XAmzContentSHA256Mismatch")
        elif (none_match and found) or (match and (found is None or found.e_tag != match)):
            self._fail(412, "PreconditionFailed")
        else:
            self.owner.put(key, body)
            self._send(200, b"", self.owner.objects[key])

    def _delete(self, body: bytes) -> None:
        keys = re.findall(r"<Key>([^<]*)</Key>", body.decode())
        for key in keys:
            self.owner.objects.pop(key, None)
        done = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
        self._send(200, f"<DeleteResult>{done}</DeleteResult>".encode())

    def _list(self, query: dict[str, list[str]]) -> None:
        prefix, after = query.get("prefix", [""])[0], query.get("continuation-token", [""])[0]
        keys = sorted(k for k in self.owner.objects if k.startswith(prefix) and k > after)
        page, more = keys[:PAGE], len(keys) > PAGE
        entries = "".join(_entry(key, self.owner.objects[key]) for key in page)
        token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
        text = (
            f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{token}{entries}"
            "</ListBucketResult>"
        )
        self._send(200, text.encode())

    def _fail(self, status: int, code: str, message: str = "") -> None:
        text = f"<Error><Code>{code}</Code><Message>{escape(message)}</Message></Error>"
        self._send(status, text.encode())

    def _send(
        self,
        status: int,
        content: bytes,
        stored: Stored | None = None,
        *,
        cut: bool = False,
        pause: float = 0,
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if stored is not None:
            self.send_header("ETag", stored.e_tag)
            modified = stored.modified.strftime("%a, %d %b %Y %H:%M:%S GMT")
            self.send_header("Last-Modified", modified)
        self.end_headers()
        step = max(1, len(content) // (2 if cut else 8 if pause else 1))
        for begin in range(0, step if cut else len(content), step):
            self.wfile.write(content[begin : begin + step])
            time.sleep(pause)
        if cut:
            self.close_connection = True


def _entry(key: str, stored: Stored) -> str:
    return (
        f"<Contents><Key>{escape(key)}</Key><Size>{len(stored.content)}</Size>"
        f"<LastModified>{stored.modified.isoformat()}</LastModified>"
        f"<ETag>{escape(stored.e_tag)}</ETag></Contents>"
    )
