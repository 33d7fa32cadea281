"""The container's files: what goes into the image serves by itself, and writes to its cache alone.

`make lint` checks their syntax. No image is built here: that takes a container engine.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from vlm.errors import SettingsError
from vlm.settings import Settings
from web_client import JPEG, ROOT, ask, picture, read_events

COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
PORT = "8000"


def command(instruction: str) -> list[str]:
    """Return the command of the Dockerfile's `instruction`, with this Python."""
    match = re.search(rf"^{instruction}\b.*?(\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert match is not None, f"there is no {instruction}"
    program, *arguments = json.loads(match[1])
    assert program == "python"
    return [sys.executable, *arguments]


@pytest.fixture
def image_dir(tmp_path: Path) -> Path:
    """Return the files that .dockerignore lets into the image."""
    folder = tmp_path / "app"
    folder.mkdir()
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert "*" in lines, "all else is to stay out"
    for pattern in (line.removeprefix("!") for line in lines if line.startswith("!")):
        for each in ROOT.glob(pattern):
            if each.is_dir():
                shutil.copytree(
                    each, folder / each.name, ignore=shutil.ignore_patterns("__pycache__")
                )
            else:
                shutil.copy(each, folder)
    return folder


def files_of(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*")}


def test_image_captions_is_healthy_and_writes_to_its_cache_only(
    image_dir: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # As in the image, the code is compiled before; this run's cache is that of the container.
    env = os.environ | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"}
    env |= {"SIGHTLINE_MODEL": "nano", "PYTHONPATH": ""}
    before = files_of(image_dir)
    entry = [each.replace(PORT, "0") for each in command("ENTRYPOINT")]
    with subprocess.Popen(
        entry, cwd=image_dir, env=env, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            match = re.search(r":(\d+) in your browser", process.stdout.readline())
            assert match is not None
            port = match[1]
            check = [each.replace(PORT, port) for each in command("HEALTHCHECK")]
            # A proxy for downloads must not be used here.
            proxied = env | {"http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
            assert subprocess.run(check, cwd=image_dir, env=proxied, check=False).returncode == 0
            assert any(line.startswith("Ready:") for line in process.stdout)
            published = JPEG | {"Host": "localhost:9000"}
            status, _, body = ask(int(port), "POST", "/api/captions", picture(), published)
            assert (status, read_events(body)[-1][0]) == (200, "done")
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate()
    assert process.returncode == 0
    assert files_of(image_dir) == before
    assert list(home.iterdir()) == []
    assert subprocess.run(
        check, cwd=image_dir, stderr=subprocess.DEVNULL, check=False
    ).returncode, "nothing serves any more"


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_services_listen_locally_with_few_privileges(name: str) -> None:
    service: dict[str, Any] = COMPOSE["services"][name]
    assert service["ports"] == [f"127.0.0.1:{PORT}:{PORT}"]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_variables_of_a_service_are_read_by_the_application(name: str) -> None:
    given = COMPOSE["services"][name]["environment"]
    variables = {each.partition("=")[0] for each in given if "SIGHTLINE" in each}
    assert variables
    for variable in variables:
        with pytest.raises(SettingsError, match=variable):
            Settings.from_args([], {variable: "nothing of the kind"})


def test_written_files_are_in_the_volume_and_the_user_is_unprivileged() -> None:
    assert COMPOSE["volumes"].keys() == {"cache"}
    for service in COMPOSE["services"].values():
        assert service["volumes"] == ["cache:/cache"]
    assert "\nVOLUME /cache\n" in DOCKERFILE
    for name in ("HF_HOME", "SIGHTLINE_CACHE"):
        assert re.search(rf"{name}=/cache/\w+", DOCKERFILE)
    user = re.search(r"^USER (\d+)$", DOCKERFILE, re.MULTILINE)
    assert user is not None
    assert int(user[1]) > 0


def test_only_the_gpu_profile_reserves_a_gpu() -> None:
    services = COMPOSE["services"]
    assert [name for name, each in services.items() if "profiles" not in each] == ["cpu"]
    assert [name for name, each in services.items() if "deploy" in each] == ["cuda"]
    assert services["cuda"]["profiles"] == ["cuda"]
    assert services["cuda"]["build"]["args"] == {"TORCH": "cuda"}
