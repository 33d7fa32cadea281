"""Fetches a model from the hub into the ordinary hub cache: checked, resumable, cancellable."""

from __future__ import annotations

import logging
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

from vlm.checkpoints.files import (
    CHAT_TEMPLATE_FILES,
    CONFIG_FILE,
    IMAGE_PROCESSOR_FILES,
    TOKENIZER_FILES,
    WEIGHTS_FILE,
    WEIGHTS_INDEX_FILE,
    check_architecture,
    check_folder,
    read_json,
)
from vlm.checkpoints.hub_blobs import BlobReceiver, RemoteFile, WrongContentError
from vlm.checkpoints.hub_cache import CachedRepository, is_blob_name
from vlm.checkpoints.hub_failures import Failure, failure_of
from vlm.checkpoints.hub_progress import FetchProgress, Meter
from vlm.checkpoints.hub_requests import TICK_S, Hub, check_cancelled
from vlm.errors import CheckpointError, DiskFullError, FetchError

__all__ = ["FetchProgress", "fetch", "received_bytes"]

_SMALL_FILES: Final = (
    *TOKENIZER_FILES,
    *IMAGE_PROCESSOR_FILES,
    *CHAT_TEMPLATE_FILES,
    "generation_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_AGAIN_AFTER_S: Final = 1.0
_SHARD: Final = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors")

_log = logging.getLogger("sightline")
_T = TypeVar("_T")


def _never() -> bool:
    return False


def _silent(_: FetchProgress) -> None:
    """Progress that nobody waits for."""


def fetch(
    hub_id: str,
    revision: str = "main",
    on_progress: Callable[[FetchProgress], None] = _silent,
    is_cancelled: Callable[[], bool] = _never,
    *,
    endpoint: str | None = None,
    cache_folder: Path | None = None,
) -> Path:
    """The folder of `hub_id` at the commit that `revision` is at now, whole and checked.

    What lies in the cache is checked, what is missing is received, going on where an earlier fetch
    ended. `on_progress` is called a few times a second, on the caller's thread, while it waits too;
    when `is_cancelled` turns true it ends within a second. `endpoint` and `cache_folder` are those
    that huggingface_hub takes from the environment.

    Raises CheckpointError, before any weights are asked for, where it is no SmolVLM; FetchError
    with what to do about it; FetchCancelledError and DiskFullError, which are FetchErrors.
    """
    repository = CachedRepository.of(hub_id, cache_folder)
    hub = Hub(endpoint, is_cancelled)
    return _Fetch(hub_id, repository, hub, Meter(on_progress), is_cancelled).run(revision)


def received_bytes(hub_id: str, cache_folder: Path | None = None) -> int:
    """How much of `hub_id` an interrupted fetch has left in the cache; the network is not asked."""
    return CachedRepository.of(hub_id, cache_folder).received_bytes()


class _Fetch:
    def __init__(
        self,
        hub_id: str,
        repository: CachedRepository,
        hub: Hub,
        meter: Meter,
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._hub_id = hub_id
        self._repository = repository
        self._hub = hub
        self._meter = meter
        self._is_cancelled = is_cancelled

    def run(self, revision: str) -> Path:
        info = self._persistently(lambda: self._model_info(revision), lambda: 0)
        commit = str(info.sha)
        if not is_blob_name(commit):
            raise FetchError("The hub does not say which commit it has. Try again later.")
        files = {each.rfilename: _remote_file(each) for each in info.siblings or ()}
        self._snapshot = self._repository.folder / "snapshots" / commit
        for file in self._needed(files, commit):
            self._receive(file, commit)
        try:
            check_folder(self._snapshot)
        except CheckpointError as error:
            # A person knows the model by its name, not by where the cache keeps it.
            raise CheckpointError(str(error).replace(str(self._snapshot), self._hub_id)) from None
        self._repository.point(revision, commit)
        self._meter.tick(always=True)
        return self._snapshot

    def _model_info(self, revision: str) -> Any:
        for info in self._hub.model_info(self._hub_id, revision):
            self._meter.tick()
            if info is not None:
                return info
        raise FetchError("The hub has answered nothing. Try again later.")

    def _needed(self, files: dict[str, RemoteFile], commit: str) -> Iterator[RemoteFile]:
        """What a checkpoint needs of `files`: what decides about the others first, weights last."""
        index = WEIGHTS_FILE if WEIGHTS_FILE in files else WEIGHTS_INDEX_FILE
        for name in (CONFIG_FILE, index):
            if name not in files:
                raise CheckpointError(
                    f"{self._hub_id} has no {name}. Sightline runs SmolVLM, with its weights in "
                    "safetensors files; pickled ones could run code. Choose another --model."
                )
        first = [files[CONFIG_FILE]] + ([files[index]] if index == WEIGHTS_INDEX_FILE else [])
        small = [files[name] for name in _SMALL_FILES if name in files]
        shards = [file for name, file in files.items() if _SHARD.fullmatch(name)]
        weights = [files[WEIGHTS_FILE]] if index == WEIGHTS_FILE else shards
        self._meter.total_bytes = sum(file.size_bytes for file in first + small + weights)
        yield files[CONFIG_FILE]
        check_architecture(read_json(self._snapshot / CONFIG_FILE), f"{self._hub_id}/{CONFIG_FILE}")
        if index == WEIGHTS_INDEX_FILE:
            yield files[index]
            weight_map = read_json(self._snapshot / index).get("weight_map") or {}
            weights = [file for file in shards if file.name in weight_map.values()]
            if len(weights) < len({*weight_map.values()}):
                raise CheckpointError(f"{self._hub_id} lacks weights that its {index} names.")
            self._meter.total_bytes = sum(file.size_bytes for file in first + small + weights)
        self._check_room(small + weights, commit)
        yield from small + weights

    def _check_room(self, files: list[RemoteFile], commit: str) -> None:
        missing_bytes = 0
        for file in files:
            found = [
                self._repository.blob(file.blob_name),
                self._repository.shown(commit, file.name),
                self._repository.incomplete_blob(file.blob_name),
            ]
            here = max((each.stat().st_size for each in found if each.exists()), default=0)
            missing_bytes += max(0, file.size_bytes - here)
        free_bytes = shutil.disk_usage(self._repository.folder).free
        if missing_bytes > free_bytes:
            raise DiskFullError(
                f"{self._hub_id} needs {missing_bytes / 1e9:.2f} GB more on the disk of the hub "
                f"cache, and {free_bytes / 1e9:.2f} GB are free. Make room, or name a folder on "
                "another disk in HF_HOME."
            )

    def _receive(self, file: RemoteFile, commit: str) -> None:
        if not is_blob_name(file.blob_name):
            raise FetchError(f"The hub does not say what {file.name} hashes to. Try again later.")
        receiver = BlobReceiver(file, self._repository, commit, self._meter, self._is_cancelled)
        with receiver.locked():
            if not receiver.is_here():
                receiver.find_incomplete()
                self._receive_rest(receiver, file, commit)
            try:
                self._repository.link(commit, file.name, file.blob_name)
            except OSError as error:
                raise FetchError(f"The hub cache cannot be written: {error.strerror}.") from None

    def _receive_rest(self, receiver: BlobReceiver, file: RemoteFile, commit: str) -> None:
        def attempt() -> None:
            receiver.receive(
                lambda first: self._hub.content(self._hub_id, commit, file.name, first)
            )

        had_some = receiver.received_bytes > 0
        try:
            self._persistently(attempt, lambda: receiver.received_bytes)
            receiver.finish()
        except WrongContentError:
            if had_some:
                # What an earlier fetch had left may be what was wrong.
                _log.warning("%s did not match its hash; it is fetched anew.", file.name)
                return self._receive_rest(receiver, file, commit)
            raise FetchError(
                f"What came as {file.name} is not what the hub has (its hash is another), so it "
                "was deleted. Try again; if it happens again, something between here and the hub "
                "changes what is sent."
            ) from None

    def _persistently(self, attempt: Callable[[], _T], received: Callable[[], int]) -> _T:
        """What `attempt` gives, made again as often as its failures are worth it.

        Attempts after which more is `received` than before do not count.
        """
        failed = 0
        while True:
            before = received()
            try:
                return attempt()
            except Exception as error:
                failure = failure_of(error, self._hub_id)
                if failure is None:
                    raise
                failed = 1 if received() > before else failed + 1
                if failed >= failure.attempts:
                    # Not chained: addresses in other errors may be signed for the one who asked.
                    raise FetchError(failure.message) from None
            self._wait(failure)

    def _wait(self, failure: Failure) -> None:
        self._meter.note = failure.note
        self._meter.tick(always=True)
        if failure.note:
            _log.info("%s", failure.note)
        wait_s = _AGAIN_AFTER_S if failure.wait_s is None else failure.wait_s
        until = time.monotonic() + wait_s
        while (left_s := until - time.monotonic()) > 0:
            self._meter.tick()
            time.sleep(min(TICK_S, left_s))
            check_cancelled(self._is_cancelled)


def _remote_file(sibling: Any) -> RemoteFile:
    blob_name = sibling.lfs.sha256 if sibling.lfs else sibling.blob_id
    return RemoteFile(sibling.rfilename, sibling.size or 0, blob_name or "")
