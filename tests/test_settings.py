"""Flags win over variables, variables over defaults; what cannot be used is refused by name."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from vlm.errors import SettingsError
from vlm.settings import MAX_TOKENS_LIMIT, Settings, read_key

ROOT = Path(__file__).resolve().parent.parent


def test_defaults_stay_on_this_machine() -> None:
    settings = Settings.from_args([], {})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, "auto")


def test_every_option_is_read_from_a_flag(tmp_path: Path) -> None:
    argv = f"--host 0.0.0.0 --port 0 --model {tmp_path} --device cuda:1 --dtype bfloat16".split()
    argv += ["--runtime", "torch", "--int8-vision", "--max-tokens", "7", "--open", "--offline"]
    assert Settings.from_args(argv, {}) == Settings(
        host="0.0.0.0",
        port=0,
        model=str(tmp_path),
        device="cuda:1",
        runtime="torch",
        dtype="bfloat16",
        int8_vision=True,
        max_tokens=7,
        open_browser=True,
        offline=True,
    )


def test_every_option_is_read_from_a_variable(tmp_path: Path) -> None:
    env = {
        "SIGHTLINE_HOST": "::1",
        "SIGHTLINE_PORT": "9001",
        "SIGHTLINE_MODEL": "someone/SmolVLM-of-their-own",
        "SIGHTLINE_OFFLINE": "1",
        "SIGHTLINE_DEVICE": "mps",
        "SIGHTLINE_RUNTIME": "openvino",
        "SIGHTLINE_DTYPE": "float16",
        "SIGHTLINE_INT8_VISION": "yes",
        "SIGHTLINE_MAX_TOKENS": str(MAX_TOKENS_LIMIT),
        "SIGHTLINE_OPEN": "true",
    }
    assert Settings.from_args([], env) == Settings(
        host="::1",
        port=9001,
        model="someone/SmolVLM-of-their-own",
        offline=True,
        device="mps",
        runtime="openvino",
        dtype="float16",
        int8_vision=True,
        max_tokens=MAX_TOKENS_LIMIT,
        open_browser=True,
    )


@pytest.mark.parametrize(
    "named", ["smolvlm-256m", "SmolVLM-256M", "HuggingFaceTB/SmolVLM-256M-Instruct"]
)
def test_a_known_model_has_one_name_however_it_is_named(named: str) -> None:
    assert Settings.from_args(["--model", named], {}).model == "smolvlm-256m"


def test_a_flag_wins_over_its_variable() -> None:
    assert Settings.from_args(["--port", "81"], {"SIGHTLINE_PORT": "82"}).port == 81


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_args([], {"SIGHTLINE_PORT": "", "SIGHTLINE_OPEN": ""}) == Settings()


@pytest.mark.parametrize(
    ("argv", "named"),
    [
        (["--port", "x"], "0 to 65535"),
        (["--port", "65536"], "0 to 65535"),
        (["--port", "-1"], "0 to 65535"),
        (["--port", "1_0"], "0 to 65535"),
        (["--max-tokens", "0"], f"1 to {MAX_TOKENS_LIMIT}"),
        (["--max-tokens", "1000000000"], f"1 to {MAX_TOKENS_LIMIT}"),
        (["--device", "tpu"], "auto, cpu, cuda, cuda:N, mps or xpu"),
        (["--runtime", "onnx"], "auto, torch, torch-static or openvino"),
        (["--dtype", "int4"], "auto, float32, bfloat16, float16 or int8"),
        (["--model", "./no-such-folder"], "smolvlm-256m"),
        (["--model", "smolvlm-3b"], "smolvlm-256m"),
        (["--model", ""], "nano"),
        (["--host", "a b"], "127.0.0.1"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_the_choices(argv: list[str], named: str) -> None:
    with pytest.raises(SettingsError) as by_flag:
        Settings.from_args([f"{argv[0]}={argv[1]}"], {})
    assert argv[0] in str(by_flag.value)
    assert named in str(by_flag.value)
    if argv[1]:
        variable = "SIGHTLINE_" + argv[0][2:].upper().replace("-", "_")
        with pytest.raises(SettingsError, match=variable):
            Settings.from_args([], {variable: argv[1]})


def test_a_switch_as_a_variable_takes_yes_and_no_only() -> None:
    assert Settings.from_args([], {"SIGHTLINE_OPEN": "0"}).open_browser is False
    with pytest.raises(SettingsError, match="SIGHTLINE_OPEN"):
        Settings.from_args([], {"SIGHTLINE_OPEN": "maybe"})


def test_help_explains_every_option_with_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        Settings.from_args(["--help"], {})
    assert ended.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    for field in fields(Settings):
        option = "open" if field.name == "open_browser" else field.name.replace("_", "-")
        assert f"--{option}" in words
        if field.default not in (None, False, ()):
            assert f"(default: {field.default})" in words


@pytest.mark.parametrize("argv", [["--port", "x"], ["--no-such-flag"]])
def test_the_command_line_ends_with_2_and_words_but_no_trace(argv: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "app.py", *argv], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert argv[0] in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "argv",
    [
        ["--engine", "openai"],
        ["--base-url", "http://a:1/v1"],
        *(
            ["--engine", "openai", "--base-url", url]
            for url in (
                "a:1",
                "ftp://a",
                "http://",
                "http://a:99999",
                "http://a:0",
                "http://a b/v1",
                "http://a/v1?x=1",
                "http://[::1/v1",
                "//a/v1",
            )
        ),
        *(["--allow-origin", each] for each in ("*", "null", "http://a/b", "a.example")),
        ["--max-queue", "0"],
        ["--log-requests", "maybe"],
    ],
)
def test_options_of_many_clients_and_other_engines_are_checked(argv: list[str]) -> None:
    with pytest.raises(SettingsError):
        Settings.from_args(argv, {})


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
@pytest.mark.parametrize("flag", ["--base-url", "--allow-origin"])
def test_a_password_in_an_address_is_refused_and_never_repeated(flag: str, scheme: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_args(["--engine", "openai", flag, f"{scheme}://user:secret@a/"], {})
    assert "secret" not in str(refused.value)


def test_several_addresses_are_named_with_commas_or_one_by_one() -> None:
    one = ["--engine", "openai", "--base-url", "http://a:1/v1/, https://b/v1"]
    several = [
        *one[:3],
        "http://a:1/v1",
        "--base-url",
        "https://b/v1",
        "--base-url",
        "http://a:1/v1",
    ]
    expected = ("http://a:1/v1", "https://b/v1")
    assert Settings.from_args(one, {}).base_url == expected
    assert Settings.from_args(several, {}).base_url == expected
    env = {"SIGHTLINE_ALLOW_ORIGIN": "https://A.example,http://b:81"}
    assert Settings.from_args([], env).allow_origin == ("https://a.example", "http://b:81")


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"one\ntwo", b"k\xff", b"k" * 5000])
def test_a_key_file_holds_one_key_and_its_refusal_does_not(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b" sk-right \r\n")
    assert read_key(str(file)) == "sk-right"
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="key file"):
        read_key(str(file))
    with pytest.raises(SettingsError, match="cannot be read"):
        read_key(str(tmp_path / "none"))
