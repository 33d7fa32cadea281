"""Download a model from the hub into the shared cache: checked, resumable, cancellable.

huggingface_hub provides requests, tokens, locks and errors; docs/experiments.md says why not more.
A file gets its final name only after its hash is checked, so a kill at any moment is harmless.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from functools import partial
from io import BufferedWriter
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from filelock import Timeout
from huggingface_hub import HfApi, constants, get_session
from huggingface_hub.utils import (  # type: ignore[attr-defined]
    WeakFileLock,
    build_hf_headers,
    hf_raise_for_status,
)

from vlm.checkpoints import files
from vlm.checkpoints.hub_answer import TruncatedError, content
from vlm.checkpoints.hub_cache import BLOB_NAME, CachedRepository, content_hash
from vlm.checkpoints.hub_failures import failure_of, on_disk, refuses_token
from vlm.checkpoints.hub_session import HubToken, use_own_client
from vlm.checkpoints.other_formats import check_plain, original_model, other_format
from vlm.errors import CheckpointError, DiskFullError, FetchCancelledError, FetchError

_SHARD: Final = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors")
_TICK_S: Final = 0.2
_ATTEMPTS: Final = 3  # in a row that receive nothing
_RETRY_AFTER_S: Final = 1.0
_SPEED_WINDOW_S: Final = 5.0

_log = logging.getLogger("sightline")
_T = TypeVar("_T")


class FetchProgress(NamedTuple):
    received_bytes: int  # with those of earlier calls
    total_bytes: int  # 0 until the hub has answered
    bytes_per_s: float  # over the last 5 s
    left_s: float | None  # None if nothing arrives
    note: str = ""  # why nothing arrives, or what to mend besides; mostly empty


class _RemoteFile(NamedTuple):
    name: str
    size_bytes: int
    blob_name: str  # its hash


def fetch(
    hub_id: str,
    revision: str = "main",
    on_progress: Callable[[FetchProgress], None] = lambda _: None,
    is_cancelled: Callable[[], bool] = lambda: False,
    *,
    kind: files.CheckpointKind = files.SMOLVLM,
    endpoint: str | None = None,
    cache_folder: Path | None = None,
) -> Path:
    """Return the folder of `hub_id` at the current commit of `revision`, complete and checked.

    Files in the cache are checked, others downloaded, and partial ones resumed. `on_progress` is
    called in this thread a few times a second, also while nothing arrives. After `is_cancelled`
    turns true the call ends within a second. `endpoint` and `cache_folder` are by default those of
    huggingface_hub.

    Raises CheckpointError before any weights are downloaded if it is not of `kind`; else
    FetchError, FetchCancelledError or DiskFullError.
    """
    use_own_client()
    # Else the user agent lists installed packages and the program that runs this process.
    constants.HF_HUB_DISABLE_TELEMETRY = True
    repository = CachedRepository.of(hub_id, cache_folder)
    endpoint = (endpoint or constants.ENDPOINT).rstrip("/")
    return _Download(hub_id, kind, endpoint, repository, on_progress, is_cancelled).run(revision)


class _Download:
    """One call of `fetch`.

    The caller's thread holds the locks, owns the files and reports progress. What can block runs
    in a thread that a cancel abandons; the only file that it writes is closed by then.
    """

    def __init__(
        self,
        hub_id: str,
        kind: files.CheckpointKind,
        endpoint: str,
        repository: CachedRepository,
        on_progress: Callable[[FetchProgress], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._hub_id, self._kind = hub_id, kind
        self._endpoint, self._repository = endpoint, repository
        self._host = _host(endpoint)
        self._on_progress, self._is_cancelled = on_progress, is_cancelled
        self._received_bytes = self._total_bytes = self._downloaded_bytes = 0
        self._downloaded_at: deque[tuple[float, int]] = deque()
        self._note = ""
        self._token = HubToken()

    def run(self, revision: str) -> Path:
        info = self._retry(partial(self._model_info, revision))
        self._commit = str(info.sha)
        card = {"base_model": getattr(info.card_data, "base_model", None)}
        self._original = original_model(card, self._hub_id)
        self._library = info.library_name
        if not BLOB_NAME.fullmatch(self._commit):
            raise FetchError("The hub does not name its commit. Try again later.")
        folder = self._repository.snapshot(self._commit)
        remote = {each.rfilename: _remote(each) for each in info.siblings or ()}
        try:
            for file in self._needed(remote):
                self._provide(file, folder / file.name)
            self._kind.check_folder(folder)
        except CheckpointError as error:
            # The message goes to people who know the model by its name, not by its folder.
            raise CheckpointError(str(error).replace(str(folder), self._hub_id)) from None
        with on_disk():
            self._repository.set_ref(revision, self._commit)
        self._tick()
        return folder

    def _model_info(self, revision: str) -> Any:
        timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
        return HfApi(self._endpoint, token=self._token.to_send()).model_info(
            self._hub_id, revision=revision, files_metadata=True, timeout=timeout_s
        )

    def _needed(self, remote: dict[str, _RemoteFile]) -> Iterator[_RemoteFile]:
        """Yield the files to provide: first those that decide about the others, weights last."""
        is_sharded = files.WEIGHTS_FILE not in remote and files.WEIGHTS_INDEX_FILE in remote
        weights_name = files.WEIGHTS_INDEX_FILE if is_sharded else files.WEIGHTS_FILE
        for name in (files.CONFIG_FILE, weights_name):
            if name not in remote:
                what = other_format(self._hub_id, remote, original=self._original)
                raise CheckpointError(what or f"{self._hub_id} has no {name}. {self._kind.advice}")
        folder = self._repository.snapshot(self._commit)
        config, weights = remote[files.CONFIG_FILE], [remote[weights_name]]
        small = [remote[name] for name in self._kind.other_files if name in remote]
        self._total_bytes = sum(each.size_bytes for each in [config, *small, *weights])
        yield config
        content = files.read_json(folder / config.name)
        self._kind.check_architecture(content, f"{self._hub_id}/{config.name}")
        check_plain(content, self._hub_id, self._original)
        if self._library == "mlx":
            check_plain({"quantization": {"quant_method": "MLX"}}, self._hub_id, self._original)
        if is_sharded:
            yield weights[0]
            shards = files.shard_names(folder)
            if any(name not in remote or not _SHARD.fullmatch(name) for name in shards):
                raise CheckpointError(f"{self._hub_id} lacks weights that its index lists.")
            weights = [remote[name] for name in shards]
            self._total_bytes += sum(each.size_bytes for each in weights)
        self._check_disk_space(small + weights)
        yield from small + weights

    def _check_disk_space(self, needed: list[_RemoteFile]) -> None:
        missing_bytes = 0
        for file in needed:
            places = (
                self._repository.blob(file.blob_name),
                self._repository.incomplete_blob(file.blob_name),
                self._repository.snapshot(self._commit) / file.name,
            )
            here = max((each.stat().st_size for each in places if each.exists()), default=0)
            missing_bytes += max(0, file.size_bytes - here)
        free_bytes = shutil.disk_usage(self._repository.folder).free
        if missing_bytes > free_bytes:
            raise DiskFullError(
                f"{self._hub_id} needs {missing_bytes / 1e9:.2f} GB more on the disk of the hub "
                f"cache, and {free_bytes / 1e9:.2f} GB are free. Make room, or set HF_HOME to a "
                "folder on another disk."
            )

    def _provide(self, file: _RemoteFile, link: Path) -> None:
        """Make `link` lead to the content of `file`, from the cache or downloaded and checked."""
        if not BLOB_NAME.fullmatch(file.blob_name):
            raise FetchError(f"The hub does not give a hash for {file.name}. Try again later.")
        blob = self._repository.blob(file.blob_name)
        incomplete = self._repository.incomplete_blob(file.blob_name)
        with on_disk(), self._locked(file):
            # On Windows without the right to make links, the snapshot holds the file itself.
            if self._matches(blob, file) or self._matches(link, file):
                self._received_bytes += file.size_bytes
            else:
                # If a part is left of an earlier call, the mistake may lie in it.
                attempts = 2 if incomplete.exists() else 1
                if not any(self._download(file, incomplete) for _ in range(attempts)):
                    raise FetchError(
                        f"{file.name} failed its checksum and was deleted. Try again; if that "
                        "repeats, something between this machine and the hub changes the data."
                    )
                os.replace(incomplete, blob)
            self._repository.link(link, file.blob_name)

    @contextmanager
    def _locked(self, file: _RemoteFile) -> Iterator[None]:
        lock_file = self._repository.lock_file(file.blob_name)
        lock_file.parent.mkdir(parents=True, exist_ok=True)
        self._repository.blob(file.blob_name).parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            while True:
                try:
                    stack.enter_context(WeakFileLock(lock_file, timeout=_TICK_S))
                    break
                except Timeout:
                    self._note = "Another program is downloading the same model; waiting for it."
                    self._tick()
            yield

    def _matches(self, path: Path, file: _RemoteFile) -> bool:
        """Return whether `path` has the content of `file`; delete it if it has another."""
        if not path.is_file():
            return False
        if self._in_thread(lambda: content_hash(path, file.blob_name)) != file.blob_name:
            path.unlink()
            return False
        return True

    def _download(self, file: _RemoteFile, incomplete: Path) -> bool:
        """Download the rest of `file`; return whether its hash is right, else delete it."""
        before = self._received_bytes
        try:
            with on_disk(), incomplete.open("ab") as out:
                self._received_bytes += out.tell()
                if out.tell() < file.size_bytes:
                    self._retry(lambda: self._receive(file, out))
                # The final name must not reach the disk before the content.
                os.fsync(out.fileno())
        except DiskFullError:
            incomplete.unlink()
            raise
        if self._matches(incomplete, file):
            return True
        self._received_bytes = before
        return False

    def _receive(self, file: _RemoteFile, out: BufferedWriter) -> None:
        url = f"{self._endpoint}/{self._hub_id}/resolve/{self._commit}/{file.name}"
        # In compressed content, sizes and ranges would not be those of the file.
        headers = build_hf_headers(token=self._token.to_send()) | {"Accept-Encoding": "identity"}
        if first_byte := out.tell():
            headers["Range"] = f"bytes={first_byte}-"
        timeout_s = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout_s) as response:
            hf_raise_for_status(response)
            for piece in content(response, file.name, file.size_bytes, first_byte):
                with on_disk():
                    out.write(piece)
                    out.flush()
                self._received_bytes += len(piece)
                self._downloaded_bytes += len(piece)
                self._note = ""
        if out.tell() < file.size_bytes:
            raise TruncatedError

    def _retry(self, request: Callable[[], _T]) -> _T:
        """Return what `request` returns, repeated while it fails temporarily or receives bytes."""
        failed = 0
        while True:
            before = self._downloaded_bytes
            try:
                return self._in_thread(request)
            except Exception as error:
                if refuses_token(error) and self._token.drop():
                    # Public models need none.
                    continue
                failure = failure_of(error, self._hub_id, self._host)
                if failure is None:
                    raise
                failed = 1 if self._downloaded_bytes > before else failed + 1
                if failed >= _ATTEMPTS or not failure.is_temporary:
                    # Not chained: URLs in other errors may carry a signature.
                    raise FetchError(failure.message) from None
            wait_s = _RETRY_AFTER_S if failure.wait_s is None else failure.wait_s
            problem = re.split(r"[.:] ", failure.message)[0].rstrip(".")
            self._note = f"{problem}; retrying in {wait_s:.0f} s."
            _log.info("%s", self._note)
            self._in_thread(partial(time.sleep, wait_s))

    def _in_thread(self, work: Callable[[], _T]) -> _T:
        """Return what `work` returns; a cancel does not wait for it."""
        self._tick()
        future: Future[_T] = Future()

        def run() -> None:
            try:
                future.set_result(work())
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=run, name="hub-request", daemon=True).start()
        while not wait([future], _TICK_S).done:
            self._tick()
        return future.result()

    def _tick(self) -> None:
        """Report progress; raise FetchCancelledError if cancelled."""
        now = time.monotonic()
        self._downloaded_at.append((now, self._downloaded_bytes))
        while now - self._downloaded_at[0][0] > _SPEED_WINDOW_S:
            self._downloaded_at.popleft()
        since, before = self._downloaded_at[0]
        speed = (self._downloaded_bytes - before) / (now - since) if now > since else 0.0
        left_s = (self._total_bytes - self._received_bytes) / speed if speed else None
        self._on_progress(
            FetchProgress(
                self._received_bytes,
                self._total_bytes,
                speed,
                left_s,
                self._note or self._token.problem,
            )
        )
        if self._is_cancelled():
            raise FetchCancelledError("The download was cancelled; the part received is kept.")


def _host(endpoint: str) -> str:
    try:
        return urlsplit(endpoint).hostname or ""
    except ValueError:
        return ""


def _remote(sibling: Any) -> _RemoteFile:
    blob_name = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    return _RemoteFile(sibling.rfilename, sibling.size or 0, blob_name or "")
