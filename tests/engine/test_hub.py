"""Downloads from a local server that answers the few requests of the hub that are needed."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event

import pytest
import torch

from tests.engine.conftest import ModelFactory
from tui_chat.chat.events import Loading
from tui_chat.engine.contract.backend import LoadRequest
from tui_chat.engine.files import hub as hub_module
from tui_chat.engine.files import transfer
from tui_chat.engine.files.hub import Hub
from tui_chat.engine.files.registry import Registry
from tui_chat.engine.files.spec import ModelSpec
from tui_chat.engine.loading.estimate import model_choices
from tui_chat.engine.loading.loader import free, load
from tui_chat.engine.loading.preflight import plan_load
from tui_chat.errors import LoadCancelledError, ModelLoadError, ModelNotFoundError, TuiChatError

REPO = "owner/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
_PATH = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_RANGE = re.compile(r"bytes=(\d+)-")


class LocalHub(ThreadingHTTPServer):
    """Serves one directory as a model; large files as LFS, like the hub."""

    def __init__(self, directory: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.directory = directory
        self.refuse: tuple[int, str] | None = None
        """Status and hub error code to answer everything with."""
        self.drops = 0
        """How many transfers of large files to cut in the middle."""
        self.ignores_ranges = False
        self.damages = False
        self.sent = 0
        """Bytes of large files that were sent."""
        self.ranges: list[str] = []
        self.names: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def listing(self) -> dict[str, object]:
        """What the API says about the model."""
        siblings = []
        for path in sorted(self.directory.iterdir()):
            data = path.read_bytes()
            entry: dict[str, object] = {
                "rfilename": path.name, "size": len(data), "blobId": _git_sha1(data),
            }  # fmt: skip
            if is_large(path):
                entry["lfs"] = {"sha256": _sha256(data), "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        return {"_id": "1", "id": REPO, "modelId": REPO, "sha": COMMIT, "siblings": siblings}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LocalHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def _answer(self) -> None:
        if self.server.refuse is not None:
            status, code = self.server.refuse
            self._send(status, b'{"error": "no"}', {"X-Error-Code": code})
            return
        path = self.path.partition("?")[0]
        if path.startswith(f"/api/models/{REPO}"):
            body = json.dumps(self.server.listing()).encode()
            self._send(200, body, {"Content-Type": "application/json"})
            return
        match = _PATH.fullmatch(path)
        file = self.server.directory / match["name"] if match else None
        if match is None or match["repo"] != REPO:
            self._send(404, b"", {"X-Error-Code": "RepoNotFound"})
        elif match["revision"] not in ("main", COMMIT):
            self._send(404, b"", {"X-Error-Code": "RevisionNotFound"})
        elif file is None or not file.is_file():
            self._send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        else:
            self._send_file(file)

    def _send_file(self, file: Path) -> None:
        data = file.read_bytes()
        etag = _sha256(data) if is_large(file) else _git_sha1(data)
        headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if is_large(file):
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": str(len(data))}
        if self.command == "GET":
            self.server.names.append(file.name)
        start, status = 0, 200
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        if asked is not None and not self.server.ignores_ranges:
            start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            self.server.ranges.append(asked[0])
        self._send(status, data[start:], headers, is_large(file))

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], is_lfs: bool = False
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if is_lfs and self.server.damages:
            body = bytes(len(body))
        if is_lfs and self.server.drops:
            self.server.drops -= 1
            body = body[: len(body) // 2]
            self.close_connection = True
        try:
            for start in range(0, len(body), 65_536):
                piece = body[start : start + 65_536]
                self.wfile.write(piece)
                self.server.sent += len(piece) if is_lfs else 0
        except OSError:
            self.close_connection = True


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _git_sha1(data: bytes) -> str:
    header = b"blob %d\0" % len(data)
    return hashlib.sha1(header + data, usedforsecurity=False).hexdigest()


def is_large(path: Path) -> bool:
    """Whether the hub would keep a file in LFS."""
    return path.suffix in (".safetensors", ".bin")


@pytest.fixture(scope="module")
def model_dir(make_model_dir: ModelFactory, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model of 4 MiB, so that its weights are fetched in many pieces."""
    path = tmp_path_factory.mktemp("served") / "tiny"
    return make_model_dir(path, hidden_size=256, intermediate_size=1024, dtype=torch.float16)


@pytest.fixture
def served(model_dir: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change before it is served."""
    return Path(shutil.copytree(model_dir, tmp_path / "served"))


@pytest.fixture
def server(served: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    for name in ("HF_TOKEN", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "_PAUSE_S", 0.01)
    with LocalHub(served) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def hub(server: LocalHub, tmp_path: Path) -> Hub:
    return Hub(cache=tmp_path / "cache", endpoint=server.url)


class Progress:
    """Notes what a download reports, and may stop it."""

    def __init__(self, stop_at: float = 2.0) -> None:
        self.seen: list[tuple[int, int]] = []
        self.cancel = Event()
        self._stop_at = stop_at

    def __call__(self, done: int, total: int) -> None:
        self.seen.append((done, total))
        if total and done >= self._stop_at * total:
            self.cancel.set()


def fetch(hub: Hub, progress: Progress | None = None, revision: str = "main") -> Path:
    progress = progress or Progress()
    return hub.download(REPO, revision, progress, progress.cancel)


def failure(hub: Hub, source: str = REPO) -> TuiChatError:
    """The error that a download ends in."""
    with pytest.raises(TuiChatError) as caught:
        hub.download(source, "main", Progress(), Event())
    error = caught.value
    assert "\n" not in error.one_line
    assert "Traceback" not in error.one_line
    assert error.hint
    return error


def test_whole_model_arrives_and_is_found_again(hub: Hub, served: Path) -> None:
    progress = Progress()
    assert hub.snapshot(REPO) is None

    folder = fetch(hub, progress)

    for file in served.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    assert hub.snapshot(REPO) == folder
    assert hub.snapshot(REPO, COMMIT) == folder
    done = [count for count, _ in progress.seen]
    size = sum(file.stat().st_size for file in served.iterdir())
    assert done == sorted(done)
    assert progress.seen[-1] == (size, size)
    assert len(done) > 5


def test_second_download_fetches_nothing(hub: Hub, server: LocalHub) -> None:
    fetch(hub)
    server.names.clear()
    progress = Progress()

    fetch(hub, progress)

    assert server.names == []
    assert progress.seen[-1][0] == progress.seen[-1][1]


def test_stopped_download_goes_on_where_it_stopped(hub: Hub, server: LocalHub) -> None:
    with pytest.raises(LoadCancelledError):
        fetch(hub, Progress(stop_at=0.5))
    assert hub.snapshot(REPO) is None
    assert hub.partial_snapshot(REPO) is not None
    (part,) = (hub.cache or Path()).rglob("*.part")
    kept = part.stat().st_size
    assert kept > 0
    server.ranges.clear()

    progress = Progress()
    folder = fetch(hub, progress)

    assert server.ranges == [f"bytes={kept}-"]
    assert hub.snapshot(REPO) == folder
    assert progress.seen[-1][0] == progress.seen[-1][1]
    assert not list((hub.cache or Path()).rglob("*.part"))


def test_dropped_connections_are_taken_up_again(hub: Hub, server: LocalHub) -> None:
    server.drops = 3
    progress = Progress()

    fetch(hub, progress)

    assert len(server.ranges) == 3
    assert progress.seen[-1][0] == progress.seen[-1][1]


def test_server_without_ranges_starts_anew(hub: Hub, server: LocalHub, served: Path) -> None:
    server.drops, server.ignores_ranges = 1, True
    progress = Progress()

    folder = fetch(hub, progress)

    name = "model.safetensors"
    assert (folder / name).read_bytes() == (served / name).read_bytes()
    assert progress.seen[-1][0] == progress.seen[-1][1]


def test_damaged_download_is_not_kept(hub: Hub, server: LocalHub) -> None:
    server.damages = True
    assert "SHA-256" in failure(hub).detail
    assert hub.snapshot(REPO) is None

    server.damages = False
    assert fetch(hub) == hub.snapshot(REPO)


def test_pickled_weights_only_where_there_are_no_others(
    hub: Hub, server: LocalHub, served: Path
) -> None:
    (served / "pytorch_model.bin").write_bytes(b"x" * 2_000_000)
    (served / "model.gguf").write_bytes(b"x" * 1000)
    (served / "README.md").write_text("no")

    folder = fetch(hub)

    names = {file.name for file in folder.iterdir()}
    assert not names & {"pytorch_model.bin", "model.gguf", "README.md"}

    (served / "model.safetensors").unlink()
    other = Hub(cache=served.parent / "other", endpoint=server.url)
    assert (fetch(other) / "pytorch_model.bin").stat().st_size == 2_000_000
    assert other.snapshot(REPO) is not None


@pytest.mark.parametrize(
    ("name", "absent"),
    [("config.json", "config.json"), ("tokenizer.json", "tokenizer.json"),
     ("model.safetensors", "model.safetensors")],
)  # fmt: skip
def test_repository_that_is_no_whole_model(name: str, absent: str, hub: Hub, served: Path) -> None:
    (served / name).unlink()

    assert failure(hub).detail == f"It has no {absent} on the hub"


@pytest.mark.parametrize(
    ("status", "code", "kind", "part"),
    [
        (404, "RepoNotFound", ModelNotFoundError, "does not exist, or it is private"),
        (401, "RepoNotFound", ModelNotFoundError, "does not exist, or it is private"),
        (403, "GatedRepo", ModelLoadError, "agree to terms"),
        (401, "GatedRepo", ModelLoadError, "agree to terms"),
        (404, "RevisionNotFound", ModelNotFoundError, "no revision main"),
        (403, "", ModelLoadError, "status 403"),
        (500, "", ModelLoadError, "status 500"),
    ],
)
def test_refusals_are_one_sentence(
    status: int, code: str, kind: type[TuiChatError], part: str, hub: Hub, server: LocalHub
) -> None:
    server.refuse = (status, code)

    error = failure(hub)

    assert type(error) is kind
    assert part in error.one_line


def test_unreachable_hub_is_one_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = Hub(tmp_path, f"http://127.0.0.1:{taken.getsockname()[1]}")

        error = failure(closed)

    assert error.detail == "The hub cannot be reached"
    assert "Check the connection" in error.hint


def test_hub_that_never_stops_dropping_is_given_up(hub: Hub, server: LocalHub) -> None:
    server.drops = 10_000

    error = failure(hub)

    assert error.detail == "The hub cannot be reached"
    assert "is kept" in error.hint


def test_full_disk_is_refused_before_anything_is_fetched(
    hub: Hub, server: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda path: usage)

    error = failure(hub)

    assert "There is no room" in error.title
    assert "1000 B are free" in error.detail
    assert server.sent == 0


def test_offline_says_so_without_asking(server: LocalHub, tmp_path: Path) -> None:
    code = (
        "from threading import Event; from tui_chat.engine.files.hub import Hub\n"
        "try: Hub().download('owner/tiny', 'main', lambda d, t: None, Event())\n"
        "except Exception as error: print(error.one_line)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": server.url,
                   "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": os.getcwd()}  # fmt: skip

    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    assert result.stdout.strip() == (
        "owner/tiny is not on this machine: HF_HUB_OFFLINE is set, so nothing is downloaded. "
        "Unset it, or choose a model that is here."
    )
    assert server.names == []


def test_environment_chooses_hub_and_cache(server: LocalHub, tmp_path: Path) -> None:
    code = (
        "from threading import Event; from tui_chat.engine.files.hub import Hub\n"
        "print(Hub().download('owner/tiny', 'main', lambda d, t: None, Event()))"
    )
    environment = {**os.environ, "HF_ENDPOINT": server.url, "PYTHONPATH": os.getcwd(),
                   "HF_HOME": str(tmp_path / "home")}  # fmt: skip

    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )

    folder = Path(result.stdout.strip())
    assert folder.is_relative_to(tmp_path / "home")
    assert (folder / "model.safetensors").is_file()
    assert result.stderr == ""


def test_two_programs_do_not_write_the_same_file(hub: Hub, server: LocalHub) -> None:
    from filelock import FileLock

    blob = server.listing()["siblings"]
    assert isinstance(blob, list)
    (sha256,) = (entry["lfs"]["sha256"] for entry in blob if "lfs" in entry)
    blobs = (hub.cache or Path()) / "models--owner--tiny" / "blobs"
    blobs.mkdir(parents=True)
    with FileLock(blobs / f"{sha256}.lock"):
        assert "already being downloaded" in failure(hub).title

    assert fetch(hub) == hub.snapshot(REPO)


def test_model_is_downloaded_and_loaded_in_one_go(hub: Hub) -> None:
    registry = Registry({"tiny": ModelSpec("tiny", REPO, template="oasst", context=512)})
    (row,) = model_choices(registry, "cpu", hub=hub)
    assert (row.is_local, row.parameters, row.fits) == (False, None, None)
    plan = plan_load(LoadRequest("tiny", device="cpu"), registry, hub=hub)
    assert plan.must_download
    events: list[Loading] = []

    loaded = load(plan, registry, events.append, Event(), hub=hub)  # type: ignore[arg-type]

    assert loaded.info.precision == "fp32"
    assert (loaded.info.context, loaded.info.template) == (512, "oasst")
    assert loaded.info.revision == "main"
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages == ["download", "tokenizer", "weights", "check"]
    downloads = [event for event in events if event.stage == "download"]
    assert downloads[-1].done == downloads[-1].total > 1_000_000
    free(loaded)
    (row,) = model_choices(registry, "cpu", hub=hub)
    assert row.is_local
    assert row.fits
