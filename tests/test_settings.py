"""A flag wins over its variable, a variable over the default; a bad value raises an error."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from vlm.errors import SettingsError
from vlm.option_types import LOOPBACK_NETWORKS
from vlm.settings import MAX_TOKENS_LIMIT, Settings, read_key

ROOT = Path(__file__).resolve().parent.parent

# A flag, a text for it, and the settings that differ from the defaults then.
ACCEPTED: list[tuple[str, str, dict[str, Any]]] = [
    ("--host", "0.0.0.0", {"host": "0.0.0.0"}),
    ("--host", "::1", {"host": "::1"}),
    ("--host", "[::1]", {"host": "::1"}),
    ("--port", "0", {"port": 0}),
    ("--port", "65535", {"port": 65535}),
    ("--model", "auto", {}),
    ("--model", "nano", {"model": "nano"}),
    ("--model", "smolvlm-256m", {"model": "smolvlm-256m"}),
    ("--model", "SmolVLM-256M", {"model": "smolvlm-256m"}),
    ("--model", "HuggingFaceTB/SmolVLM-256M-Instruct", {"model": "smolvlm-256m"}),
    ("--model", "someone/their-own", {"model": "someone/their-own"}),
    ("--model", str(ROOT), {"model": str(ROOT)}),
    ("--device", "cuda:1", {"device": "cuda:1"}),
    ("--runtime", "torch-static", {"runtime": "torch-static"}),
    ("--dtype", "bfloat16", {"dtype": "bfloat16"}),
    ("--detector", "owlv2-base", {"detector": "owlv2-base"}),
    ("--detector", "none", {"detector": "none"}),
    ("--max-tokens", str(MAX_TOKENS_LIMIT), {"max_tokens": MAX_TOKENS_LIMIT}),
    ("--latency", "0.1", {"latency": 0.1}),
    ("--latency", "60", {"latency": 60.0}),
    ("--max-queue", "1", {"max_queue": 1}),
    ("--timeline", "pictures", {"timeline": "pictures"}),
    ("--timeline-days", "0", {"timeline_days": 0}),
    ("--timeline-mb", "10", {"timeline_mb": 10}),
    ("--timeline-file", "kept", {"timeline_file": "kept"}),
    ("--api-key-file", "key", {"api_key_file": "key"}),
    ("--remote-model", "theirs", {"remote_model": "theirs"}),
    ("--client-key-file", "key", {"client_key_file": "key"}),
    ("--allow-origin", "https://A.example", {"allow_origin": ("https://a.example",)}),
    ("--allow-origin", "http://b:81/, https://a", {"allow_origin": ("http://b:81", "https://a")}),
    (
        "--allow-origin",
        "null, app://notes, capacitor://localhost, chrome-extension://abcdef, http://[::1]:3000",
        {
            "allow_origin": (
                "null",
                "app://notes",
                "capacitor://localhost",
                "chrome-extension://abcdef",
                "http://[::1]:3000",
            )
        },
    ),
    ("--allow-host", "Cam.example.org,.lan", {"allow_host": ("cam.example.org", ".lan")}),
    ("--allow-host", "fe80::1", {"allow_host": ("[fe80::1]",)}),
    ("--behind-proxy", "loopback", {"behind_proxy": LOOPBACK_NETWORKS}),
    ("--behind-proxy", "172.30.33.9/23", {"behind_proxy": ("172.30.32.0/23",)}),
    ("--allow-frame", "self,https://a.example", {"allow_frame": ("'self'", "https://a.example")}),
    ("--log-requests", "on", {"log_requests": "on"}),
]

# A flag, a text that it does not take, and a part of the error.
REFUSED = [
    ("--host", "a b", "127.0.0.1"),
    *(("--port", text, "0 to 65535") for text in ("x", "65536", "-1", "+1", "1_0", " 1", "٣")),
    *(("--max-tokens", text, f"1 to {MAX_TOKENS_LIMIT}") for text in ("0", "1000000000")),
    *(("--latency", text, "0.1 to 60") for text in ("0.09", "61", "nan", "1e1", "-1", "1_0", "٣")),
    ("--max-queue", "0", "1 to 1024"),
    ("--device", "tpu", "auto, cpu, cuda, cuda:N, mps or xpu"),
    ("--runtime", "onnx", "'auto', 'torch', 'torch-static', 'openvino'"),
    ("--dtype", "int2", "'auto', 'float32', 'bfloat16', 'float16', 'int8', 'int4'"),
    ("--detector", "yolo", "'nanodet', 'owlv2-base', 'grounding-dino-tiny', 'none'"),
    ("--engine", "remote", "'local', 'openai'"),
    ("--log-requests", "maybe", "'auto', 'on', 'off'"),
    *(("--model", text, "nano, smolvlm-256m") for text in ("./no-such-folder", "smolvlm-3b")),
    *(
        ("--base-url", url, "http://10.0.0.5:8000")
        for url in ("a:1", "ftp://a", "http://", "http://a:99999", "http://a:0", "http://a b/v1")
    ),
    *(("--base-url", url, "http://10.0.0.5:8000") for url in ("http://[::1/v1", "//a/v1")),
    ("--base-url", "http://a/v1?x=1", "must end with its path"),
    *(("--allow-origin", text, "https://example.org") for text in ("http://a/b", "https://a#b")),
    *(
        (flag, text, words)
        for flag in ("--allow-origin", "--allow-frame")
        for text, words in (
            ("a.example", "https://example.org"),
            ("https://", "https://example.org"),
            ("https://a b", "https://example.org"),
            ("https://a; script-src", "https://example.org"),
            ("https://a:0", "https://example.org"),
            ("*", "would never match"),
            ("https://*.example.org", "would never match"),
            ("https://a:443", "Write https://a."),
            ("http://a:80", "Write http://a."),
            ("file:///home", "browsers send null"),
            ("https://user:word@a", "no name or password"),
        )
    ),
    *(
        ("--allow-host", text, "without scheme, port and path")
        for text in ("https://a", "a:8000", "a/b", "*.example.org", "a b", "a..b")
    ),
    ("--allow-host", ".com", "many owners"),
    *(("--behind-proxy", text, "172.30.32.0/23") for text in ("nginx", "10.0.0.0/40", "10.0")),
]


def variable_of(flag: str) -> str:
    return "SIGHTLINE_" + flag.removeprefix("--").upper().replace("-", "_")


def test_defaults_listen_on_this_machine_only() -> None:
    settings = Settings.from_args([], {})
    assert settings == Settings()
    assert (settings.host, settings.port, settings.model) == ("127.0.0.1", 8000, "auto")


@pytest.mark.parametrize(("flag", "text", "changed"), ACCEPTED)
def test_flag_and_variable_set_a_value(flag: str, text: str, changed: dict[str, Any]) -> None:
    expected = Settings(**changed)
    assert Settings.from_args([flag, text], {}) == expected
    assert Settings.from_args([f"{flag}={text}"], {variable_of(flag): "ignored"}) == expected
    assert Settings.from_args([], {variable_of(flag): text}) == expected


@pytest.mark.parametrize(("flag", "text", "words"), REFUSED)
def test_bad_value_raises_an_error_that_names_flag_or_variable(
    flag: str, text: str, words: str
) -> None:
    for argv, env, source in (
        ([f"{flag}={text}"], {}, flag),
        ([flag, text], {}, flag),
        ([], {variable_of(flag): text}, variable_of(flag)),
    ):
        with pytest.raises(SettingsError) as error:
            Settings.from_args(argv, env)
        assert str(error.value).startswith(f"{source}: ")
        assert words in str(error.value)


def test_a_flag_for_a_proxy_without_a_value_means_this_machine() -> None:
    assert Settings.from_args(["--behind-proxy"], {}).behind_proxy == LOOPBACK_NETWORKS
    settings = Settings.from_args(["--behind-proxy", "--port", "9"], {"SIGHTLINE_BEHIND_PROXY": ""})
    assert (settings.behind_proxy, settings.port) == (LOOPBACK_NETWORKS, 9)
    assert Settings.from_args([], {"SIGHTLINE_BEHIND_PROXY": "1"}).behind_proxy == LOOPBACK_NETWORKS


@pytest.mark.parametrize("flag", ["--host", "--port", "--model", "--device", "--dtype"])
def test_empty_flag_is_an_error_and_empty_variable_counts_as_unset(flag: str) -> None:
    with pytest.raises(SettingsError, match=flag):
        Settings.from_args([f"{flag}="], {})
    assert Settings.from_args([], {variable_of(flag): ""}) == Settings()


@pytest.mark.parametrize(
    ("flag", "field"),
    [
        ("--offline", "offline"),
        ("--int8-vision", "int8_vision"),
        ("--log-text", "log_text"),
        ("--open", "open_browser"),
    ],
)
def test_switch_is_a_flag_without_value_and_a_yes_or_no_variable(flag: str, field: str) -> None:
    variable = variable_of(flag)
    switched_on = Settings(**{field: True})
    assert Settings.from_args([flag], {variable: "0"}) == switched_on
    for text in ("1", "true", "yes", "on", "TRUE"):
        assert Settings.from_args([], {variable: text}) == switched_on
    for text in ("0", "false", "no", "off", "Off", ""):
        assert Settings.from_args([], {variable: text}) == Settings()
    with pytest.raises(SettingsError, match=f"{variable}: 'maybe' is neither yes nor no"):
        Settings.from_args([], {variable: "maybe"})
    with pytest.raises(SettingsError, match=flag):
        Settings.from_args([f"{flag}=1"], {})


@pytest.mark.parametrize(
    ("argv", "env"),
    [
        (["--base-url", "http://a:1/v1/, https://b/v1"], {}),
        (["--base-url", "http://a:1/v1", "--base-url=https://b/v1,http://a:1/v1"], {}),
        (["--base-url", "http://a:1/v1,https://b/v1"], {"SIGHTLINE_BASE_URL": "http://c"}),
        ([], {"SIGHTLINE_BASE_URL": "http://a:1/v1, https://b/v1/,"}),
    ],
)
def test_list_is_read_from_commas_and_from_repeated_flags(
    argv: list[str], env: dict[str, str]
) -> None:
    settings = Settings.from_args(["--engine", "openai", *argv], env)
    assert settings == Settings(engine="openai", base_url=("http://a:1/v1", "https://b/v1"))


@pytest.mark.parametrize("argv", [["--engine", "openai"], ["--base-url", "http://a:1/v1"]])
def test_remote_engine_and_its_url_need_each_other(argv: list[str]) -> None:
    with pytest.raises(SettingsError, match="--engine openai and --base-url"):
        Settings.from_args(argv, {})


@pytest.mark.parametrize("scheme", ["http", "https", "ftp"])
@pytest.mark.parametrize("flag", ["--base-url", "--allow-origin"])
def test_error_about_a_url_with_a_password_does_not_repeat_it(flag: str, scheme: str) -> None:
    with pytest.raises(SettingsError, match="no name or password") as error:
        Settings.from_args(["--engine", "openai", flag, f"{scheme}://user:secret@a/"], {})
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "argv", [["--no-such-flag"], ["--por", "1"], ["--port"], ["nano"], ["-p", "1"]]
)
def test_unknown_short_or_unfinished_flags_are_errors(argv: list[str]) -> None:
    with pytest.raises(SettingsError, match=argv[0]):
        Settings.from_args(argv, {})


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_names_every_flag_variable_and_default(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        Settings.from_args([flag], {"SIGHTLINE_PORT": "81"})
    assert ended.value.code == 0
    # Lines are broken at blanks and at hyphens.
    printed = " ".join(capsys.readouterr().out.split()).replace("- ", "-")
    for field in fields(Settings):
        name = "open" if field.name == "open_browser" else field.name.replace("_", "-")
        assert f"--{name} " in printed
        default = f"; default: {field.default}" if field.default not in (None, False, ()) else "]"
        assert f"[env var: {variable_of(name)}{default}" in printed


@pytest.mark.parametrize("argv", [["--port", "x"], ["--no-such-flag"]])
def test_bad_command_line_ends_with_code_2_and_no_trace(argv: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "app.py", *argv], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert argv[0] in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("content", [b"", b"\n", b"two words", b"one\ntwo", b"k\xff", b"k" * 4097])
def test_key_file_holds_one_key_in_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b" sk-right \r\n")
    assert read_key(str(file)) == "sk-right"
    for size in (4095, 4096):
        file.write_bytes(b"k" * size)
        assert read_key(str(file)) == "k" * size
    file.write_bytes(content)
    with pytest.raises(SettingsError, match="key file"):
        read_key(str(file))
    with pytest.raises(SettingsError, match="cannot be read"):
        read_key(str(tmp_path / "none"))
