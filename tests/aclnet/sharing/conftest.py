"""A small Hugging Face Hub on loopback."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
import time
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from urllib.parse import unquote, urlsplit

import pytest

TOKEN = "hf_of_the_tests"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_TYPES = {"models": "model", "datasets": "dataset"}


@dataclass
class FakeHub:
    """Repositories by (kind, name), in memory, as the routes of `huggingface_hub` change them.

    Files of `lfs_from` bytes and more go through Git LFS, as large files do on the Hub.
    """

    address: str = ""
    repositories: dict[tuple[str, str], dict[str, bytes]] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    objects: dict[str, bytes] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    lfs_from: int = 2000
    fail: dict[str, int] = field(default_factory=dict)
    """Statuses by the beginning of requests, as "GET /api"."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: FakeHub

    def log_message(self, *_):
        pass

    def _answer(self, status, content=b"", **headers):
        if not isinstance(content, bytes):
            content = json.dumps(content).encode()
            headers["Content-Type"] = "application/json"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if "Content_Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _handle(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = self._chunks()
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        for beginning, status in self.hub.fail.items():
            if self.hub.requests[-1].startswith(beginning):
                return self._answer(status, {"error": "told by the test"})
        for method, pattern, answer in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method.split():
                return answer(self, body, *found.groups())
        return self._answer(404, {"error": f"no route {self.command} {path}"})

    do_GET = do_POST = do_PUT = do_HEAD = _handle  # noqa: N815 - http.server's names

    def _chunks(self):
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _may(self, name=None):
        """True if the token is right, where one is needed."""
        needed = name is None or name in self.hub.private
        if needed and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"error": "Invalid username or password."})
            return False
        return True

    def create(self, body):
        if not self._may():
            return None
        wanted = json.loads(body)
        owner = wanted.get("organization")
        name = f"{owner}/{wanted['name']}" if owner else wanted["name"]
        kind = wanted.get("type", "model")
        url = f"{self.hub.address}/{'datasets/' if kind == 'dataset' else ''}{name}"
        if (kind, name) in self.hub.repositories:
            return self._answer(409, {"error": "exists", "url": url})
        self.hub.repositories[kind, name] = {}
        if wanted.get("visibility") == "private":
            self.hub.private.add(name)
        return self._answer(200, {"url": url})

    def validate(self, _):
        self._answer(200, {"errors": [], "warnings": []})

    def preupload(self, body, kind, name, _):
        if not self._may() or (_TYPES[kind], name) not in self.hub.repositories:
            return None
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["size"] >= self.hub.lfs_from else "regular",
                "shouldIgnore": False,
            }
            for file in json.loads(body)["files"]
        ]
        return self._answer(200, {"files": files})

    def batch(self, body, *_):
        objects = json.loads(body)["objects"]
        for entry in objects:
            entry["actions"] = {"upload": {"href": f"{self.hub.address}/upload/{entry['oid']}"}}
        self._answer(200, {"transfer": "basic", "objects": objects})

    def upload(self, body, oid):
        assert hashlib.sha256(body).hexdigest() == oid
        self.hub.objects[oid] = body
        self._answer(200)

    def commit(self, body, kind, name, _):
        if not self._may():
            return None
        files = self.hub.repositories[_TYPES[kind], name]
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif entry["key"] == "lfsFile":
                files[value["path"]] = self.hub.objects[value["oid"]]
        prefix = "datasets/" if kind == "datasets" else ""
        url = f"{self.hub.address}/{prefix}{name}/commit/{COMMIT}"
        return self._answer(200, {"commitUrl": url, "commitOid": COMMIT, "success": True})

    def info(self, _, kind, name, __=None):
        if not self._may(name):
            return None
        files = self.hub.repositories.get((_TYPES[kind], name))
        if files is None:
            return self._answer(404, {"error": "Repository not found"}, X_Error_Code="RepoNotFound")
        siblings = [{"rfilename": file} for file in files]
        about = {"id": name, "sha": COMMIT, "private": name in self.hub.private}
        return self._answer(200, {**about, "siblings": siblings})

    def resolve(self, _, prefix, name, commit, file):
        if not self._may(name):
            return None
        content = self.hub.repositories["dataset" if prefix else "model", name].get(file)
        if content is None or commit != COMMIT:
            return self._answer(404, {"error": "Entry not found"}, X_Error_Code="EntryNotFound")
        etag = f'"{hashlib.sha256(content).hexdigest()}"'
        return self._answer(
            200, content, ETag=etag, X_Repo_Commit=COMMIT, Content_Length=str(len(content))
        )


_REPO = r"/api/(models|datasets)/([^/]+/[^/]+)"
_ROUTES = (
    ("POST", "/api/repos/create", _Handler.create),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("POST", rf"{_REPO}/preupload/(\w+)", _Handler.preupload),
    ("POST", rf"{_REPO}/commit/(\w+)", _Handler.commit),
    ("POST", r"/(?:datasets/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch", _Handler.batch),
    ("PUT", r"/upload/(\w+)", _Handler.upload),
    ("GET", rf"{_REPO}(?:/revision/(.+))?", _Handler.info),
    ("GET HEAD", r"/(datasets/)?([^/]+/[^/]+)/resolve/(\w+)/(.+)", _Handler.resolve),
)


@contextmanager
def running_hub(monkeypatch, folder):
    """A Hub to which the environment points, with a token of its own."""
    found = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": found})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.block_on_close = True, False  # the client keeps connections open
    found.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", found.address)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    constants = pytest.importorskip("huggingface_hub.constants")
    # nothing may go to the real one, also of what the client read when it was imported
    template = f"{found.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "ENDPOINT", found.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(folder / "harnesses.json"))
    quick = SimpleNamespace(sleep=lambda _: None, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("huggingface_hub.utils._http.time", quick)  # no waiting before a retry
    # large files go through Git LFS: the other protocol needs servers of its own
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def hub(monkeypatch, tmp_path_factory):
    """An empty Hub."""
    with running_hub(monkeypatch, tmp_path_factory.mktemp("hub")) as found:
        yield found


@pytest.fixture(scope="session")
def content(made_up_store, quick_run, tmp_path_factory):
    """Repositories and LFS objects of a Hub to which a store and a run were pushed."""
    from aclnet.sharing.hub import push

    folder = tmp_path_factory.mktemp("hub")
    with pytest.MonkeyPatch.context() as patch, running_hub(patch, folder) as found:
        push(made_up_store, "me/people", license_id="cc-by-4.0")
        push(quick_run.path, "me/run")
    return found.repositories, found.objects


@pytest.fixture
def pushed(hub, content):
    """A Hub with a store and a run."""
    hub.repositories, hub.objects = deepcopy(content)
    return hub
