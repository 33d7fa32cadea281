"""Laws of a download: which files it requests, and what is in the cache afterwards."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from typing import NoReturn

import pytest
import safetensors.torch
from fetcher import HUB_ID, TOKEN, Fetcher, change_last_byte
from huggingface_hub import scan_cache_dir, snapshot_download

from vlm.checkpoints.files import CONFIG_FILE, WEIGHTS_FILE, check_folder
from vlm.errors import CheckpointError


def test_download_requests_the_needed_files_of_one_commit(fetcher: Fetcher, nano_dir: Path) -> None:
    folder = fetcher()
    assert folder == fetcher.complete()
    for file in nano_dir.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()
    info, *files = fetcher.hub.requests
    assert info.path.endswith(f"{HUB_ID}/revision/main")
    assert all(f"/resolve/{folder.name}/" in each.path for each in files)
    names = fetcher.requested_files()
    assert sorted(names) == sorted(file.name for file in nano_dir.iterdir())
    assert (names[0], names[-1]) == (CONFIG_FILE, WEIGHTS_FILE)


def test_requests_reveal_nothing_of_this_machine(fetcher: Fetcher) -> None:
    fetcher()
    for request in fetcher.hub.requests:
        assert not {"torch", "agent"} & set(request.headers["user-agent"].replace("/", " ").split())
        is_cdn = request.path.startswith("/cdn/")
        assert (TOKEN in request.headers.get("authorization", "")) is not is_cdn


def test_progress_grows_from_nothing_to_the_whole(fetcher: Fetcher, nano_dir: Path) -> None:
    fetcher.hub.bytes_per_s = 20_000_000
    fetcher()
    received = [each.received_bytes for each in fetcher.progress]
    assert received[0] == 0
    assert received == sorted(received)
    size = sum(file.stat().st_size for file in nano_dir.iterdir())
    assert fetcher.progress[-1].received_bytes == fetcher.progress[-1].total_bytes == size
    assert any(each.bytes_per_s > 0 and each.left_s is not None for each in fetcher.progress)


def test_the_cache_is_shared_with_huggingface_hub(
    fetcher: Fetcher, nano_dir: Path, tmp_path: Path
) -> None:
    folder = fetcher()
    since = len(fetcher.hub.requests)
    names = [file.name for file in nano_dir.iterdir()]
    found = snapshot_download(
        HUB_ID, cache_dir=fetcher.cache, endpoint=fetcher.hub.url, allow_patterns=names
    )
    assert Path(found) == folder
    cache = scan_cache_dir(fetcher.cache)
    assert cache.warnings == []
    assert [each.repo_id for each in cache.repos] == [HUB_ID]
    assert fetcher.requested_files(since) == []

    other = tmp_path / "other"
    theirs = snapshot_download(HUB_ID, cache_dir=other, endpoint=fetcher.hub.url)
    since = len(fetcher.hub.requests)
    assert fetcher(cache_folder=other) == Path(theirs)
    assert fetcher.requested_files(since) == []


def test_only_damaged_and_changed_files_are_downloaded_again(
    fetcher: Fetcher, repository: Path
) -> None:
    old = fetcher()
    since = len(fetcher.hub.requests)
    assert fetcher() == old
    assert [each.path for each in fetcher.hub.requests[since:]] == [
        f"/api/models/{HUB_ID}/revision/main"
    ]
    change_last_byte((old / WEIGHTS_FILE).resolve())
    fetcher()
    assert fetcher.requested_files(since) == [WEIGHTS_FILE]
    (repository / "generation_config.json").write_text('{"eos_token_id": 5}')
    since = len(fetcher.hub.requests)
    new = fetcher()
    assert new != old
    assert fetcher.requested_files(since) == ["generation_config.json"]
    assert fetcher.complete() == new


def test_files_are_moved_where_links_are_not_allowed(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> NoReturn:
        raise PermissionError(errno.EPERM, "links are for administrators here")

    monkeypatch.setattr(Path, "symlink_to", forbidden)
    folder = fetcher()
    assert not any(file.is_symlink() for file in folder.iterdir())
    assert fetcher.complete() == fetcher() == folder
    assert len(fetcher.weights_first_bytes()) == 1
    change_last_byte(folder / WEIGHTS_FILE)
    fetcher()
    assert len(fetcher.weights_first_bytes()) == 2
    check_folder(folder)


def test_two_downloads_at_once_transfer_each_file_once(fetcher: Fetcher, nano_dir: Path) -> None:
    fetcher.hub.bytes_per_s = 10_000_000
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(fetcher())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [fetcher.complete()] * 2
    assert fetcher.weights_served() == (nano_dir / WEIGHTS_FILE).stat().st_size
    assert any("Another program" in each.note for each in fetcher.progress)


def test_unusable_repositories_are_refused_before_their_weights(
    fetcher: Fetcher, repository: Path
) -> None:
    weights, config = (repository / name for name in (WEIGHTS_FILE, CONFIG_FILE))
    weights.rename(repository / "kept")
    with pytest.raises(CheckpointError, match=f"{HUB_ID} holds pickled weights .*could run code"):
        fetcher()
    assert fetcher.requested_files() == []
    (repository / "kept").rename(weights)
    content = json.loads(config.read_text())
    config.write_text(json.dumps(content | {"model_type": "llama"}))
    with pytest.raises(CheckpointError, match=rf"^{HUB_ID}/config\.json .*'llama'"):
        fetcher()
    assert fetcher.requested_files() == [CONFIG_FILE]
    config.unlink()
    with pytest.raises(CheckpointError, match=f"{HUB_ID} has no {CONFIG_FILE}"):
        fetcher()
    assert fetcher.requested_files() == [CONFIG_FILE]
    config.write_text(json.dumps(content))
    (repository / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=rf"{HUB_ID} is incomplete: tokenizer\.json") as error:
        fetcher()
    assert str(fetcher.cache) not in str(error.value)


def test_sharded_weights_are_downloaded_if_all_are_there(
    fetcher: Fetcher, repository: Path
) -> None:
    tensors = safetensors.torch.load_file(repository / WEIGHTS_FILE)
    (repository / WEIGHTS_FILE).unlink()
    names = sorted(tensors)
    shards = {"model-00001-of-00002.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    weight_map = {name: file for file, inside in shards.items() for name in inside}
    index = {"metadata": {}, "weight_map": weight_map}
    (repository / "model.safetensors.index.json").write_text(json.dumps(index))
    first, second = shards
    for file in (first, second):
        if file == second:
            with pytest.raises(CheckpointError, match="lacks weights"):
                fetcher()
            assert first not in fetcher.requested_files()
        part = {name: tensors[name] for name in shards[file]}
        safetensors.torch.save_file(part, repository / file, metadata={"format": "pt"})
    check_folder(fetcher())
    assert set(fetcher.requested_files()[-2:]) == set(shards)
    assert "adapter.safetensors" not in fetcher.requested_files()
    assert fetcher.progress[-1].received_bytes == fetcher.progress[-1].total_bytes
