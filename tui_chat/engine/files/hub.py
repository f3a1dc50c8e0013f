"""Finds models in the local cache of the Hugging Face hub, and downloads them into it.

Other programs share the cache. A download reports its progress over all files, can be cancelled,
and continues later where it stopped: huggingface_hub discards a partial file, so
`engine.files.transfer` fetches the large ones. Only `download` goes online.
"""

from __future__ import annotations

import errno
import json
import re
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, NoReturn

from tui_chat.chat.model_size import format_bytes
from tui_chat.engine.files.transfer import fetch_file, is_transport_error
from tui_chat.errors import LoadCancelledError, ModelLoadError, ModelNotFoundError, TuiChatError
from tui_chat.safe_text import safe_line

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoSibling

Progress = Callable[[int, int], None]
"""Receives the bytes done and the total bytes. Called on the downloading thread."""

_TIMEOUT_S = 10.0
"""Longest wait for metadata from the hub, in seconds."""
_RESUMABLE = 1024**2
"""Size in bytes from which an interrupted LFS file is continued; smaller files start again."""

_TEXT_FILES = re.compile(
    r"(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab"
    r"|chat_template)\.json|merges\.txt|chat_template\.jinja|(tokenizer|spiece)\.model"
)
_WEIGHT_FILES = (
    re.compile(r"model(-\d+-of-\d+)?\.safetensors|model\.safetensors\.index\.json"),
    re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin|pytorch_model\.bin\.index\.json"),
)
"""Weight files by format, the preferred format first."""
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model")


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub and its local cache."""

    cache: Path | None = None
    """Folder of the cache; if None, the one that HF_HUB_CACHE or HF_HOME names."""
    endpoint: str | None = None
    """Address of the hub; if None, the one that HF_ENDPOINT names."""

    def snapshot(self, source: str, revision: str = "main") -> Path | None:
        """Return the folder of a completely downloaded model, or None. Stays offline.

        Args:
            source: A hub id.
            revision: Branch, tag or commit.
        """
        folder = self.partial_snapshot(source, revision)
        return folder if folder is not None and _is_complete(folder) else None

    def partial_snapshot(self, source: str, revision: str = "main") -> Path | None:
        """Return the folder of a model whose config.json is cached, or None. Stays offline."""
        from huggingface_hub import try_to_load_from_cache

        found = try_to_load_from_cache(source, "config.json", self.cache, revision)
        return Path(found).parent if isinstance(found, str) else None

    def download(self, source: str, revision: str, progress: Progress, cancel: Event) -> Path:
        """Download the missing files of a model.

        Pickled weights are downloaded only if the model has no safetensors weights.

        Args:
            source: A hub id.
            revision: Branch, tag or commit.
            progress: Receives the bytes done and in total over all files, cached ones included.
            cancel: Stops the download; the next one continues from the partial files.

        Returns:
            The folder of the model.

        Raises:
            LoadCancelledError: If it was cancelled.
            ModelNotFoundError: If the hub has no such model or revision, or the model lacks a
                config, tokenizer or weights in a supported format.
            ModelLoadError: If the hub cannot be reached or denies access, or the disk is full.
        """
        try:
            return _Download(self, source, revision, progress, cancel).run()
        except (TuiChatError, KeyboardInterrupt):
            raise
        except Exception as error:
            _raise_in_one_sentence(error, source, revision)


class _Download:
    """One download of a model into the cache."""

    def __init__(
        self, hub: Hub, source: str, revision: str, progress: Progress, cancel: Event
    ) -> None:
        from huggingface_hub import HfApi, constants

        self._hub = hub
        self._source = source
        self._revision = revision
        self._progress = progress
        self._cancel = cancel
        self._api = HfApi(endpoint=hub.endpoint)
        cache = hub.cache or Path(constants.HF_HUB_CACHE)
        self._folder = cache / f"models--{source.replace('/', '--')}"
        self._done = 0
        self._total = 0

    def run(self) -> Path:
        """Download every missing file; return the folder of the model."""
        self._raise_if_cancelled()
        info = self._api.model_info(
            self._source, revision=self._revision, files_metadata=True, timeout=_TIMEOUT_S
        )
        files = _needed(info.siblings or (), self._source)
        # Asking by the revision's name, not the commit, makes huggingface_hub store which commit it
        # is, so that `snapshot` finds the model offline.
        config = Path(self._link("config.json", self._revision))
        commit = config.parent.name
        missing = [file for file in files if not (config.parent / file.rfilename).exists()]
        self._total = sum(file.size or 0 for file in files)
        self._count(self._total - sum(file.size or 0 for file in missing))
        self._require_room(missing)
        for file in missing:
            self._raise_if_cancelled()
            self._fetch(file, commit)
        return config.parent

    def _fetch(self, file: RepoSibling, commit: str) -> None:
        """Download one file into the cache.

        The cache of huggingface_hub stores a file under `blobs`, named by its hash, and links to it
        from the folder of each revision. A large file is put there by `fetch_file`, after which the
        library only adds the link.
        """
        from huggingface_hub import hf_hub_url

        size = file.size or 0
        if file.lfs is None or size < _RESUMABLE:
            self._link(file.rfilename, commit)
            self._count(size)
            return
        blob = self._folder / "blobs" / file.lfs.sha256
        if blob.exists():
            self._count(size)
        else:
            url = hf_hub_url(
                self._source, file.rfilename, revision=commit, endpoint=self._hub.endpoint
            )
            fetch_file(url, blob, size, file.lfs.sha256, self._count, self._cancel)
        self._link(file.rfilename, commit)

    def _link(self, name: str, revision: str) -> str:
        """Let huggingface_hub link a file into a revision; it downloads the file if need be."""
        from huggingface_hub import hf_hub_download

        return hf_hub_download(
            self._source,
            name,
            revision=revision,
            cache_dir=self._hub.cache,
            endpoint=self._hub.endpoint,
            etag_timeout=_TIMEOUT_S,
        )

    def _require_room(self, missing: Iterable[RepoSibling]) -> None:
        """Raise `ModelLoadError` if the disk is too full for the missing files."""
        needed = 0
        for file in missing:
            part = self._folder / "blobs" / f"{file.lfs.sha256 if file.lfs else ''}.part"
            needed += (file.size or 0) - (part.stat().st_size if part.is_file() else 0)
        free = shutil.disk_usage(self._folder).free
        if needed > free:
            raise ModelLoadError(
                f"There is no room for {safe_line(self._source, 100)}",
                f"{format_bytes(needed)} are still to be fetched, {format_bytes(free)} are free "
                f"in {safe_line(str(self._folder.parent), 120)}",
                "Free some room, or set HF_HOME to another disk",
            )

    def _count(self, count: int) -> None:
        self._done += count
        self._progress(self._done, self._total)

    def _raise_if_cancelled(self) -> None:
        if self._cancel.is_set():
            raise LoadCancelledError


def _needed(siblings: Iterable[RepoSibling], source: str) -> list[RepoSibling]:
    """Select the files of a repository that a model needs.

    Returns:
        Config and tokenizer files, then the weight files of one format.

    Raises:
        ModelNotFoundError: If the repository has no config, no tokenizer or no weights.
    """
    files = sorted(siblings, key=lambda file: file.rfilename)
    texts = [file for file in files if _TEXT_FILES.fullmatch(file.rfilename)]
    names = {file.rfilename for file in texts}
    weights: list[RepoSibling] = []
    for pattern in _WEIGHT_FILES:
        weights = weights or [file for file in files if pattern.fullmatch(file.rfilename)]
    absent = "config.json" if "config.json" not in names else ""
    absent = absent or ("" if names & set(_TOKENIZERS) else "tokenizer.json")
    absent = absent or ("" if weights else "model.safetensors")
    if absent:
        raise ModelNotFoundError(
            f"{safe_line(source, 100)} cannot be used",
            f"It has no {absent} on the hub",
            "Choose another model; GGUF, adapter and ONNX repositories do not work here",
        )
    return texts + weights


def _is_complete(folder: Path) -> bool:
    """Return whether a folder holds a tokenizer and all weight files that its index names."""
    if not any((folder / name).exists() for name in _TOKENIZERS):
        return False
    for single in ("model.safetensors", "pytorch_model.bin"):
        if (folder / single).exists():
            return True
        try:
            index = json.loads((folder / f"{single}.index.json").read_text("utf-8"))
            shards = set(index["weight_map"].values())
        except (OSError, ValueError, KeyError, AttributeError, TypeError):
            continue
        return all((folder / shard).exists() for shard in shards)
    return False


def _raise_in_one_sentence(error: Exception, source: str, revision: str) -> NoReturn:
    """Raise an error of huggingface_hub again as one that tells the user what to do."""
    from huggingface_hub import errors

    name = safe_line(source, 100)
    failed = f"{name} could not be downloaded"
    kept = "What was fetched is kept; load the model again to go on"
    if isinstance(error, errors.OfflineModeIsEnabled):
        raise ModelLoadError(
            f"{name} is not on this machine",
            "HF_HUB_OFFLINE is set, so nothing is downloaded",
            "Unset it, or choose a model that is here",
        ) from None
    if isinstance(error, errors.GatedRepoError):
        raise ModelLoadError(
            failed,
            "Its owner wants you to agree to terms first",
            "Agree on its page on the hub, then set HF_TOKEN to your token",
        ) from None
    if isinstance(error, errors.RepositoryNotFoundError):
        raise ModelNotFoundError(
            f"There is no model {name} on the hub",
            "It does not exist, or it is private",
            "Check the spelling; for a private model set HF_TOKEN to your token",
        ) from None
    if isinstance(error, errors.RevisionNotFoundError):
        raise ModelNotFoundError(
            failed,
            f"It has no revision {safe_line(revision, 60)}",
            "Correct the revision in models.toml",
        ) from None
    if isinstance(error, errors.HfHubHTTPError) and error.response is not None:
        status = error.response.status_code
        hint = "Set HF_TOKEN to a valid token" if status in (401, 403) else f"Try later. {kept}"
        raise ModelLoadError(failed, f"The hub answered with status {status}", hint) from None
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        raise ModelLoadError(failed, "The disk is full", f"Free some room. {kept}") from None
    if is_transport_error(error) or isinstance(error, ConnectionError | TimeoutError):
        raise ModelLoadError(
            failed, "The hub cannot be reached", f"Check the connection. {kept}"
        ) from None
    reason = safe_line(str(error), 160) or type(error).__name__
    raise ModelLoadError(failed, reason, kept) from None
