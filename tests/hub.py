"""A local server that speaks the part of the Hugging Face Hub's protocol that pixmo, `HfApi` and `datasets` use.

Data-set repositories with commits, branches, tags, LFS objects and range requests, all in memory. Real programs reach
it by `FakeHub.environment`; a test can make it hang or fail, and look at what arrived.
"""

import base64
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

WRITE_TOKEN = "hf_write"
READ_TOKEN = "hf_read"
LFS_ENDINGS = (".parquet", ".jpg", ".png")
ATTRIBUTES = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in LFS_ENDINGS).encode()


@dataclass(frozen=True)
class Entry:
    """A file of a commit."""

    data: bytes
    lfs: bool

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    @property
    def oid(self) -> str:
        """The git blob id; of an LFS object that of its pointer."""
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{self.sha256}\nsize {len(self.data)}\n"
        blob = pointer.encode() if self.lfs else self.data
        return hashlib.sha1(b"blob %d\0" % len(blob) + blob).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.oid


@dataclass(frozen=True)
class Commit:
    sha: str
    title: str
    files: dict[str, Entry]


@dataclass
class Repo:
    """`commits` are those of `main`, oldest first; `objects` the LFS objects by SHA-256."""

    name: str
    private: bool
    commits: list[Commit] = field(default_factory=list)
    tags: dict[str, str] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        wanted = self.head.sha if revision == "main" else self.tags.get(revision, revision)
        return next((commit for commit in self.commits if commit.sha == wanted), None)

    def commit(self, title: str, files: dict[str, Entry]) -> Commit:
        state = json.dumps([len(self.commits), title, {path: entry.oid for path, entry in sorted(files.items())}])
        commit = Commit(hashlib.sha1(f"{self.name}{state}".encode()).hexdigest(), title, files)
        self.commits.append(commit)
        return commit

    def edit(self, title: str, files: dict[str, bytes | None]) -> Commit:
        """A commit of somebody else: new content by path, None to delete."""
        kept = {path: entry for path, entry in self.head.files.items() if path not in files}
        new = {path: Entry(data, path.endswith(LFS_ENDINGS)) for path, data in files.items() if data is not None}
        return self.commit(title, kept | new)


@dataclass
class Fault:
    """What the server does with the requests of a kind (`object`, `commit`, `tag`) after the first `after` ones.

    It answers `status`, or never (None): `reached` is set then, and the request is dropped when the server ends.
    """

    kind: str
    after: int = 0
    status: int | None = None
    reached: threading.Event = field(default_factory=threading.Event)


@dataclass
class FakeHub:
    url: str = ""
    page: int = 1000
    """Entries of a page of a listing."""
    repos: dict[str, Repo] = field(default_factory=dict)
    fault: Fault | None = None
    all_public: bool = False
    """Repositories are made public, whatever was asked for."""
    before_commit: Callable[[], object] = lambda: None
    writes: list[str] = field(default_factory=list)
    """Method and path of every request that could change something."""
    stored: list[str] = field(default_factory=list)
    """SHA-256 of every LFS object that was received whole, in order."""
    bytes_received: int = 0
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.RLock = field(default_factory=threading.RLock)
    served: Counter[str] = field(default_factory=Counter)

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to take this server for the Hub."""
        return {"HF_ENDPOINT": self.url, "HF_TOKEN": WRITE_TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0"}

    def create(self, name: str, *, private: bool = True) -> Repo:
        repo = self.repos[name] = Repo(name, private)
        repo.commit("initial commit", {".gitattributes": Entry(ATTRIBUTES, lfs=False)})
        return repo


class Answer(Exception):
    """Ends a request with a status and a JSON body, bytes or nothing."""

    def __init__(self, status: int, body: Any = None, **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.body = body
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def refusal(status: int, message: str, code: str = "") -> Answer:
    return Answer(status, {"error": message}, **{"X-Error-Message": message} | ({"X-Error-Code": code} if code else {}))


class Hangs(Exception):
    """The connection is dropped without an answer."""


@dataclass(frozen=True)
class Request:
    """A request to a repository, if its path names one."""

    hub: FakeHub
    token: str | None
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes
    name: str = ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def repo(self, *, write: bool = False) -> Repo:
        repo = self.hub.repos.get(self.name)
        if repo is None or (repo.private and self.token is None):
            raise refusal(404 if self.token else 401, "Repository not found", "RepoNotFound")
        if write:
            self.allow(self.name.split("/")[0])
        return repo

    def allow(self, namespace: str) -> None:
        if self.token != WRITE_TOKEN or namespace == "strangers":
            raise refusal(403, f"You don't have the rights to write under the namespace {namespace}")

    def commit(self, revision: str) -> Commit:
        commit = self.repo().at(revision)
        if commit is None:
            raise refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return commit

    def count(self, kind: str) -> None:
        """Count a request of this kind and let the fault strike."""
        fault = self.hub.fault
        with self.hub.lock:
            self.hub.served[kind] += 1
            strikes = fault is not None and fault.kind == kind and self.hub.served[kind] > fault.after
        if fault is None or not strikes:
            return
        if fault.status is not None:
            raise refusal(fault.status, "Out of order")
        fault.reached.set()
        self.hub.closing.wait()
        raise Hangs


def whoami(request: Request) -> Answer:
    if request.token is None:
        raise refusal(401, "Invalid username or password.")
    return Answer(200, {"type": "user", "name": "someone", "orgs": [], "auth": {"type": "access_token"}})


def validate_yaml(_: Request) -> Answer:
    return Answer(200, {"errors": [], "warnings": []})


def create_repo(request: Request) -> Answer:
    wanted = request.json
    name = f"{wanted['organization']}/{wanted['name']}"
    request.allow(wanted["organization"])
    if name in request.hub.repos:
        raise refusal(409, "You already created this dataset repo")
    private = wanted.get("private", False) or wanted.get("visibility") == "private"  # before and since version 1
    request.hub.create(name, private=private and not request.hub.all_public)
    return Answer(200, {"url": f"{request.hub.url}/datasets/{name}", "name": name, "id": name})


def repo_info(request: Request, revision: str = "main") -> Answer:
    repo, commit = request.repo(), request.commit(revision)
    siblings = [{"rfilename": path} for path in sorted(commit.files)]
    about = {"id": repo.name, "author": repo.name.split("/")[0], "private": repo.private, "gated": False}
    return Answer(200, about | {"sha": commit.sha, "siblings": siblings, "tags": [], "downloads": 0, "likes": 0})


def refs(request: Request) -> Answer:
    repo = request.repo()
    tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": sha} for name, sha in repo.tags.items()]
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head.sha}
    return Answer(200, {"branches": [main], "converts": [], "tags": tags})


def described(path: str, entry: Entry) -> dict[str, Any]:
    lfs = {"lfs": {"oid": entry.sha256, "size": len(entry.data), "pointerSize": 130}} if entry.lfs else {}
    return {"type": "file", "path": path, "oid": entry.oid, "size": len(entry.data), **lfs}


def described_folder(path: str) -> dict[str, Any]:
    return {"type": "directory", "path": path, "oid": hashlib.sha1(path.encode()).hexdigest(), "size": 0}


def folders(files: dict[str, Entry]) -> set[str]:
    return {path[: end.start()] for path in files for end in re.finditer("/", path)}


def tree(request: Request, revision: str, folder: str = "") -> Answer:
    files = request.commit(revision).files
    prefix = f"{folder}/" if folder else ""
    if folder and folder not in folders(files):
        raise refusal(404, f"{folder} does not exist", "EntryNotFound")
    listed = [described_folder(path) for path in folders(files)]
    listed += [described(path, entry) for path, entry in files.items()]
    deep = request.query.get("recursive", "").lower() == "true"
    listed = [item for item in listed if item["path"].startswith(prefix) and item["path"] != folder]
    listed = [item for item in listed if deep or "/" not in item["path"][len(prefix) :]]
    listed.sort(key=lambda item: str(item["path"]))
    begin = int(request.query.get("cursor", 0))
    end = begin + request.hub.page
    link = {}
    if end < len(listed):
        where = f"{request.hub.url}/api/datasets/{request.name}/tree/{revision}{'/' if folder else ''}{folder}"
        link = {"Link": f'<{where}?recursive={deep}&cursor={end}>; rel="next"'}
    return Answer(200, listed[begin:end], **link)


def paths_info(request: Request, revision: str) -> Answer:
    files = request.commit(revision).files
    form = request.headers.get("content-type", "").startswith("application/json")
    paths = request.json["paths"] if form else parse_qs(request.body.decode())["paths"]
    there = [described(path, files[path]) for path in paths if path in files]
    return Answer(200, there + [described_folder(path) for path in paths if path in folders(files)])


def preupload(request: Request, _: str) -> Answer:
    repo = request.repo(write=True)
    ignored = "*.jpg" in request.json.get(
        "gitIgnore", repo.head.files.get(".gitignore", Entry(b"", False)).data.decode()
    )
    return Answer(200, {"files": [
        {"path": file["path"], "uploadMode": "lfs" if file["path"].endswith(LFS_ENDINGS) else "regular",
         "shouldIgnore": ignored and file["path"].endswith(".jpg"),
         "oid": repo.head.files[file["path"]].oid if file["path"] in repo.head.files else None}
        for file in request.json["files"]
    ]})  # fmt: skip


def lfs_batch(request: Request) -> Answer:
    repo = request.repo(write=True)
    objects: list[dict[str, Any]] = []
    for wanted in request.json["objects"]:
        about = {"oid": wanted["oid"], "size": wanted["size"]}
        if wanted["oid"] not in repo.objects:
            where = f"{request.hub.url}/objects/{request.name}/{wanted['oid']}"
            about["actions"] = {"upload": {"href": where}, "verify": {"href": f"{where}/verify"}}
        objects.append(about)
    return Answer(200, {"transfer": "basic", "objects": objects})


def put_object(request: Request, oid: str) -> Answer:
    """Signed addresses need no token, so the repository is not asked for one."""
    request.count("object")
    with request.hub.lock:
        request.hub.bytes_received += len(request.body)
        if hashlib.sha256(request.body).hexdigest() != oid:
            raise refusal(400, "The content is not what was announced")
        request.hub.repos[request.name].objects[oid] = request.body
        request.hub.stored.append(oid)
    return Answer(200, b"", ETag=f'"{oid}"')


def verify_object(request: Request, oid: str) -> Answer:
    data = request.repo(write=True).objects.get(oid)
    if data is None or len(data) != request.json["size"]:
        raise refusal(404, "No such object")
    return Answer(200, {})


def post_commit(request: Request, _: str) -> Answer:
    request.count("commit")
    repo = request.repo(write=True)
    request.hub.before_commit()
    with request.hub.lock:
        files = dict(repo.head.files)
        header: dict[str, Any] = {}
        for line in request.body.splitlines():
            item = json.loads(line)
            value = item["value"]
            match item["key"]:
                case "header":
                    header = value
                case "file":
                    files[value["path"]] = Entry(base64.b64decode(value["content"]), lfs=False)
                case "lfsFile":
                    if value["oid"] not in repo.objects:
                        raise refusal(400, f"LFS object {value['oid']} was not uploaded")
                    files[value["path"]] = Entry(repo.objects[value["oid"]], lfs=True)
                case "deletedFile":
                    if files.pop(value["path"], None) is None:
                        raise refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        if header.get("parentCommit") not in (None, repo.head.sha):
            raise refusal(412, "A commit has happened since. Please refresh and try again.")
        commit = repo.commit(header["summary"], files)
    where = f"{request.hub.url}/datasets/{repo.name}/commit/{commit.sha}"
    return Answer(200, {"success": True, "commitOid": commit.sha, "commitUrl": where, "hookOutput": ""})


def post_tag(request: Request, revision: str) -> Answer:
    request.count("tag")
    repo, commit = request.repo(write=True), request.commit(revision)
    with request.hub.lock:
        if request.json["tag"] in repo.tags:
            raise refusal(409, "Tag already exists")
        repo.tags[request.json["tag"]] = commit.sha
    return Answer(201, {})


def resolve(request: Request, revision: str, path: str) -> Answer:
    commit = request.commit(revision)
    entry = commit.files.get(path)
    if entry is None:
        raise Answer(404, b"Entry not found", X_Repo_Commit=commit.sha, X_Error_Code="EntryNotFound")
    about = {"ETag": f'"{entry.etag}"', "X-Repo-Commit": commit.sha, "Accept-Ranges": "bytes"}
    span = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if span is None:
        return Answer(200, entry.data, **about)
    size = len(entry.data)
    first = int(span[1]) if span[1] else max(size - int(span[2]), 0)
    last = min(int(span[2]), size - 1) if span[1] and span[2] else size - 1
    if first > last:
        raise Answer(416, b"", Content_Range=f"bytes */{size}")
    return Answer(206, entry.data[first : last + 1], **about | {"Content-Range": f"bytes {first}-{last}/{size}"})


_REPO = r"([^/]+/[^/]+)"
_API = f"/api/datasets/{_REPO}"
ROUTES: list[tuple[str, str, Callable[..., Answer]]] = [
    ("GET", "/api/whoami-v2", whoami),
    ("POST", "/api/validate-yaml", validate_yaml),
    ("POST", "/api/repos/create", create_repo),
    ("GET", _API, repo_info),
    ("GET", f"{_API}/revision/([^/]+)", repo_info),
    ("GET", f"{_API}/refs", refs),
    ("GET", f"{_API}/tree/([^/]+)", tree),
    ("GET", f"{_API}/tree/([^/]+)/(.+)", tree),
    ("POST", f"{_API}/paths-info/([^/]+)", paths_info),
    ("POST", f"{_API}/preupload/([^/]+)", preupload),
    ("POST", f"{_API}/commit/([^/]+)", post_commit),
    ("POST", f"{_API}/tag/([^/]+)", post_tag),
    ("POST", rf"/datasets/{_REPO}\.git/info/lfs/objects/batch", lfs_batch),
    ("PUT", f"/objects/{_REPO}/([0-9a-f]+)", put_object),
    ("POST", f"/objects/{_REPO}/([0-9a-f]+)/verify", verify_object),
    ("GET", f"/datasets/{_REPO}/resolve/([^/]+)/(.+)", resolve),
]
READING = {"validate_yaml", "paths_info"}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    hub: FakeHub

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        body = self.read_body()
        try:
            answer = self.find_answer(url.path, {name: values[0] for name, values in parse_qs(url.query).items()}, body)
        except Answer as refused:
            answer = refused
        except Hangs:
            self.close_connection = True
            return
        data = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_HEAD = do_POST = do_PUT = do_GET  # noqa: N815

    def find_answer(self, path: str, query: dict[str, str], body: bytes) -> Answer:
        token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
        if token not in (None, WRITE_TOKEN, READ_TOKEN):
            return refusal(401, "Invalid credentials in Authorization header")
        headers = {name.lower(): value for name, value in self.headers.items()}
        for method, pattern, handle in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method == ("GET" if self.command == "HEAD" else self.command):
                if method != "GET" and handle.__name__ not in READING:
                    self.hub.writes.append(f"{method} {path}")
                name, *rest = match.groups() or ("",)
                return handle(Request(self.hub, token, query, headers, body, name), *map(unquote, rest))
        return refusal(404, f"No such page: {path}")

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def handle(self) -> None:
        try:
            super().handle()
        except ConnectionError:
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serve() -> Iterator[FakeHub]:
    """Run the server for as long as the block lasts."""
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("HubHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        hub.closing.set()
        server.shutdown()
        thread.join()
        server.server_close()
