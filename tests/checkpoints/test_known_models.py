"""Laws of the known models and of where models lie; the network is never asked."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from checkpoint_copy import copy_checkpoint
from vlm.checkpoints.catalogue import (
    BUNDLED_FOLDER,
    KNOWN_MODELS,
    KnownModel,
    complete_folder,
    known_model,
    resolve,
)
from vlm.checkpoints.files import model_size
from vlm.checkpoints.hub_cache import HUB_ID
from vlm.errors import CheckpointError

ROOT = Path(__file__).resolve().parents[2]
OLD, NEW = "0" * 40, "1" * 40


def published() -> list[KnownModel]:
    return [model for model in KNOWN_MODELS if model.hub_id is not None]


def repository(cache: Path, hub_id: str) -> Path:
    return cache / f"models--{hub_id.replace('/', '--')}"


def keep(nano_dir: Path, cache: Path, hub_id: str, commit: str, branch: str | None = None) -> Path:
    """A copy of `nano_dir` as `commit` of `hub_id`, with `branch` at it."""
    folder = repository(cache, hub_id)
    shutil.copytree(nano_dir, folder / "snapshots" / commit)
    if branch is not None:
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / branch).write_text(commit)
    return folder / "snapshots" / commit


def test_the_bundled_model_is_known_with_its_true_size() -> None:
    bundled = [model for model in KNOWN_MODELS if model.hub_id is None]
    assert [model.name for model in bundled] == ["nano"]
    assert bundled[0].size == model_size(BUNDLED_FOLDER)
    assert complete_folder("nano") == resolve("NANO") == BUNDLED_FOLDER


def test_every_known_model_can_be_told_from_the_others() -> None:
    for told in ("name", "title", "hub_id", "good_for"):
        assert len({getattr(model, told) for model in KNOWN_MODELS}) == len(KNOWN_MODELS)
    assert all(HUB_ID.fullmatch(model.hub_id or "") for model in published())


def test_no_download_is_told_smaller_than_two_bytes_a_parameter() -> None:
    assert all(model.download_bytes > 2 * model.size.parameters for model in published())


@pytest.mark.parametrize("model", published(), ids=lambda model: model.name)
def test_a_hub_id_is_as_good_as_the_short_name(model: KnownModel) -> None:
    assert model.hub_id is not None
    for name in (model.name, model.name.upper(), model.hub_id, model.hub_id.lower()):
        assert known_model(name) is model


@pytest.mark.parametrize("name", ["", "smolvlm", "nano/checkpoint", "someone/nano"])
def test_no_other_name_is_known(name: str) -> None:
    assert known_model(name) is None


def test_a_model_is_found_by_name_and_by_hub_id(nano_dir: Path, tmp_path: Path) -> None:
    folder = keep(nano_dir, tmp_path, "HuggingFaceTB/SmolVLM-256M-Instruct", NEW, "main")
    for name in ("smolvlm-256m", "HuggingFaceTB/SmolVLM-256M-Instruct"):
        assert complete_folder(name, tmp_path) == resolve(name, tmp_path) == folder


def test_what_is_not_whole_is_not_here(nano_dir: Path, tmp_path: Path) -> None:
    folder = keep(nano_dir, tmp_path, "someone/tiny", NEW, "main")
    (folder / "model.safetensors").unlink()
    assert complete_folder("someone/tiny", tmp_path) is None
    with pytest.raises(CheckpointError, match=r"incomplete: model\.safetensors is missing"):
        resolve("someone/tiny", tmp_path)


def test_the_branchs_commit_goes_before_the_newest(nano_dir: Path, tmp_path: Path) -> None:
    old = keep(nano_dir, tmp_path, "someone/tiny", OLD, "main")
    keep(nano_dir, tmp_path, "someone/tiny", NEW)
    os.utime(old, (1, 1))
    assert complete_folder("someone/tiny", tmp_path) == old


def test_a_newer_commit_that_is_not_whole_hides_no_older_one(
    nano_dir: Path, tmp_path: Path
) -> None:
    old = keep(nano_dir, tmp_path, "someone/tiny", OLD)
    new = keep(nano_dir, tmp_path, "someone/tiny", NEW, "main")
    (new / "model.safetensors").unlink()
    assert complete_folder("someone/tiny", tmp_path) == resolve("someone/tiny", tmp_path) == old


@pytest.mark.parametrize("name", ["smolvlm-2.2b", "someone/absent"])
def test_what_is_not_here_is_told_with_a_way_on(name: str, tmp_path: Path) -> None:
    assert complete_folder(name, tmp_path) is None
    with pytest.raises(CheckpointError, match=rf"{name} is not on this machine.*fetch {name}"):
        resolve(name, tmp_path)


def test_a_local_folder_is_taken_as_it_is(nano_dir: Path, tmp_path: Path) -> None:
    folder = copy_checkpoint(nano_dir, tmp_path / "mine", {})
    assert complete_folder(str(folder)) == folder
    (folder / "config.json").unlink()
    assert complete_folder(str(folder)) is None
    assert complete_folder(str(tmp_path / "nowhere")) is None


def test_the_cache_is_the_one_that_all_programs_share(nano_dir: Path, tmp_path: Path) -> None:
    folder = keep(nano_dir, tmp_path / "hub", "someone/tiny", NEW, "main")
    code = (
        "import sys; from vlm.checkpoints.catalogue import resolve\n"
        "print(resolve('someone/tiny'))\n"
        "heavy = {'torch', 'transformers', 'httpx2'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    environment = os.environ | {"HF_HOME": str(tmp_path)}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder)
