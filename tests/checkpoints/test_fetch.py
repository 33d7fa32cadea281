"""Laws of fetching a model: what is asked for, what lies in the cache, and who else can use it."""

from __future__ import annotations

import errno
import json
import threading
from pathlib import Path
from typing import NoReturn

import pytest
import safetensors.torch
from fetcher import HUB_ID, TOKEN, Fetcher
from huggingface_hub import scan_cache_dir, snapshot_download

from hub_server import Fault, HubServer
from vlm.checkpoints.files import CONFIG_FILE, WEIGHTS_FILE, check_folder
from vlm.checkpoints.hub import received_bytes
from vlm.errors import CheckpointError, FetchError


def asked_files(hub: HubServer) -> list[str]:
    """The files whose content was asked for, in that order."""
    bodies = [each for each in hub.requests if "/resolve/" in each.path and each.status != 302]
    return [each.path.partition("/resolve/")[2].partition("/")[2] for each in bodies]


def test_a_model_is_fetched_whole(fetcher: Fetcher, nano_dir: Path) -> None:
    folder = fetcher()
    check_folder(folder)
    assert folder == fetcher.complete()
    for file in nano_dir.iterdir():
        assert (folder / file.name).read_bytes() == file.read_bytes()


def test_only_what_is_needed_is_asked_for(fetcher: Fetcher, nano_dir: Path) -> None:
    fetcher()
    asked = asked_files(fetcher.hub)
    assert sorted(asked) == sorted(file.name for file in nano_dir.iterdir())
    assert (asked[0], asked[-1]) == (CONFIG_FILE, WEIGHTS_FILE)


def test_all_is_of_one_commit(fetcher: Fetcher) -> None:
    folder = fetcher()
    info, *files = fetcher.hub.requests
    assert info.path.endswith(f"{HUB_ID}/revision/main")
    assert all(f"/resolve/{folder.name}/" in each.path for each in files)


def test_nothing_is_told_of_this_machine(fetcher: Fetcher) -> None:
    fetcher()
    told = {each.headers["user-agent"] for each in fetcher.hub.requests}
    assert not [each for each in told if "torch" in each or "agent" in each]
    assert not fetcher.hub.requests_for("agent-harnesses")


def test_the_token_goes_to_the_hub_alone(fetcher: Fetcher) -> None:
    fetcher()
    for request in fetcher.hub.requests:
        is_elsewhere = request.path.startswith("/cdn/")
        assert (TOKEN in request.headers.get("authorization", "")) is not is_elsewhere


def test_progress_begins_at_nothing_and_ends_whole(fetcher: Fetcher, nano_dir: Path) -> None:
    fetcher.hub.bytes_per_s = 20_000_000
    fetcher()
    received = [each.received_bytes for each in fetcher.told]
    assert received[0] == 0
    assert received == sorted(received)
    size = sum(file.stat().st_size for file in nano_dir.iterdir())
    assert fetcher.told[-1].received_bytes == fetcher.told[-1].total_bytes == size
    assert any(each.bytes_per_s > 0 and each.left_s is not None for each in fetcher.told)


def test_what_is_whole_is_not_fetched_again(fetcher: Fetcher) -> None:
    folder = fetcher()
    before = len(fetcher.hub.requests)
    assert fetcher() == folder
    assert [each.path for each in fetcher.hub.requests[before:]] == [
        f"/api/models/{HUB_ID}/revision/main"
    ]


def test_other_programs_find_what_was_fetched(fetcher: Fetcher, nano_dir: Path) -> None:
    folder = fetcher()
    before = len(fetcher.hub.requests)
    found = snapshot_download(
        HUB_ID,
        cache_dir=fetcher.cache,
        endpoint=fetcher.hub.url,
        allow_patterns=[file.name for file in nano_dir.iterdir()],
    )
    assert Path(found) == folder
    assert not [each for each in fetcher.hub.requests[before:] if "/resolve/" in each.path]
    cache = scan_cache_dir(fetcher.cache)
    assert cache.warnings == []
    assert [each.repo_id for each in cache.repos] == [HUB_ID]


def test_what_other_programs_fetched_is_found(fetcher: Fetcher) -> None:
    folder = snapshot_download(HUB_ID, cache_dir=fetcher.cache, endpoint=fetcher.hub.url)
    before = len(fetcher.hub.requests)
    assert fetcher() == Path(folder)
    assert not [each for each in fetcher.hub.requests[before:] if "/resolve/" in each.path]


def test_a_file_that_was_damaged_on_the_disk_is_fetched_anew(fetcher: Fetcher) -> None:
    folder = fetcher()
    blob = (folder / WEIGHTS_FILE).resolve()
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    fetcher()
    assert fetcher.weights_from() == [0, 0]


def test_where_links_are_not_allowed_files_are_moved_and_found_again(
    fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> NoReturn:
        raise PermissionError(errno.EPERM, "links are for administrators here")

    monkeypatch.setattr(Path, "symlink_to", forbidden)
    folder = fetcher()
    assert not any(file.is_symlink() for file in folder.iterdir())
    assert fetcher.complete() == fetcher() == folder
    assert len(fetcher.weights_from()) == 1
    shown = folder / WEIGHTS_FILE
    shown.write_bytes(bytes(shown.stat().st_size))
    fetcher()
    assert len(fetcher.weights_from()) == 2
    check_folder(folder)


def test_of_a_newer_commit_only_what_changed_is_fetched(fetcher: Fetcher, repository: Path) -> None:
    old = fetcher()
    (repository / "generation_config.json").write_text('{"eos_token_id": 5}')
    before = len(fetcher.hub.requests)
    new = fetcher()
    assert new != old
    asked = [each.path for each in fetcher.hub.requests[before:] if "/resolve/" in each.path]
    assert [path.rpartition("/")[2] for path in asked] == ["generation_config.json"]
    assert fetcher.complete() == new


def test_two_that_fetch_at_once_fetch_once(fetcher: Fetcher, nano_dir: Path) -> None:
    fetcher.hub.bytes_per_s = 10_000_000
    folders: list[Path] = []
    threads = [threading.Thread(target=lambda: folders.append(fetcher())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert folders == [fetcher.complete()] * 2
    assert fetcher.weights_served() == (nano_dir / WEIGHTS_FILE).stat().st_size


@pytest.mark.parametrize("model_type", ["llama", "qwen2_vl"])
def test_another_architecture_is_refused_before_its_weights_are_asked_for(
    fetcher: Fetcher, repository: Path, model_type: str
) -> None:
    config = json.loads((repository / CONFIG_FILE).read_text()) | {"model_type": model_type}
    (repository / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=rf"^{HUB_ID}/config\.json .*'{model_type}'"):
        fetcher()
    assert asked_files(fetcher.hub) == [CONFIG_FILE]
    assert fetcher.complete() is None


@pytest.mark.parametrize("absent", [CONFIG_FILE, WEIGHTS_FILE])
def test_what_lacks_the_essential_is_refused_before_anything_is_asked_for(
    fetcher: Fetcher, repository: Path, absent: str
) -> None:
    (repository / absent).unlink()
    with pytest.raises(CheckpointError, match=f"{HUB_ID} has no .*pickled ones could run code"):
        fetcher()
    assert asked_files(fetcher.hub) == []


def test_what_lacks_a_processor_is_named_without_a_path(fetcher: Fetcher, repository: Path) -> None:
    (repository / "tokenizer.json").unlink()
    with pytest.raises(CheckpointError, match=rf"{HUB_ID} is incomplete: tokenizer\.json") as told:
        fetcher()
    assert str(fetcher.cache) not in str(told.value)


def sharded(repository: Path) -> dict[str, str]:
    """Lay the weights of `repository` out in two files; which tensor lies in which."""
    tensors = safetensors.torch.load_file(repository / WEIGHTS_FILE)
    (repository / WEIGHTS_FILE).unlink()
    weight_map = {}
    for number, names in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), 1):
        file = f"model-0000{number}-of-00002.safetensors"
        part = {name: tensors[name] for name in names}
        safetensors.torch.save_file(part, repository / file, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(names, file)
    index = {"metadata": {}, "weight_map": weight_map}
    (repository / "model.safetensors.index.json").write_text(json.dumps(index))
    return weight_map


def test_weights_in_shards_are_fetched_and_no_others(fetcher: Fetcher, repository: Path) -> None:
    shards = set(sharded(repository).values())
    (repository / "adapter.safetensors").write_bytes(b"not ours")
    check_folder(fetcher())
    asked = asked_files(fetcher.hub)
    assert set(asked[-2:]) == shards
    assert "adapter.safetensors" not in asked
    assert fetcher.told[-1].received_bytes == fetcher.told[-1].total_bytes


def test_a_shard_that_is_not_there_is_told_before_the_others_come(
    fetcher: Fetcher, repository: Path
) -> None:
    shards = sorted(set(sharded(repository).values()))
    (repository / shards[0]).unlink()
    with pytest.raises(CheckpointError, match="lacks weights"):
        fetcher()
    assert not [name for name in asked_files(fetcher.hub) if name.endswith(".safetensors")]


def test_what_is_left_of_a_fetch_is_told_without_the_network(fetcher: Fetcher) -> None:
    assert received_bytes(HUB_ID, fetcher.cache) == 0
    fetcher.hub.faults += [Fault(cut_after_bytes=2_000_000, times=1), Fault(status=404, spared=2)]
    with pytest.raises(FetchError):
        fetcher()
    asked = len(fetcher.hub.requests)
    assert 2_000_000 < received_bytes(HUB_ID, fetcher.cache) < 2_200_000
    assert len(fetcher.hub.requests) == asked
