"""Orca, the screen reader of Linux desktops, without a screen or sound: its words are written down.

It gets a display, a session bus and a speech server of its own. The voice of the speech server is a
script that notes each text and takes about as long as a quick voice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PROGRAMS = ("orca", "speech-dispatcher", "dbus-daemon", "Xvfb", "openbox", "pgrep")
PACKAGES = "orca speech-dispatcher dbus at-spi2-core xvfb openbox procps"
# Only keeps a broken test from hanging.
HANG_GUARD_S = 60.0
_POLL_S = 0.1
# Longer than a page needs to answer, so that nothing more is to come.
_QUIET_S = 3.0

_SPEECH_CONFIG = """\
LogLevel 1
LogDir "{folder}"
CommunicationMethod "unix_socket"
SocketPath "{folder}/speech.sock"
AddModule "voice" "sd_generic" "voice.conf"
DefaultModule voice
DefaultLanguage "en-US"
AudioOutputMethod "libao"
Timeout 0
DisableAutoSpawn
"""
_VOICE_CONFIG = """\
GenericExecuteSynth "{folder}/voice.sh '$DATA'"
GenericMaxChunkLength 9999
GenericDelimiters ""
GenericLanguage "en" "en" "utf-8"
AddVoice "en" "MALE1" "plain"
"""
# 20 ms a letter. The lines tell what was begun and what was said to its end.
_VOICE = """\
#!/bin/sh
printf 'begin %s\\n' "$1" >> "{folder}/spoken"
sleep "$((${{#1}} * 20 + 100))e-3"
printf 'end\\n' >> "{folder}/spoken"
"""


def missing_for_screen_reader() -> str | None:
    """Return why no screen reader can be run here, or None."""
    if missing := [name for name in PROGRAMS if shutil.which(name) is None]:
        return f"needs {', '.join(missing)} (Debian: apt install {PACKAGES})"
    others = ["pgrep", "-x", "-u", str(os.getuid()), "orca"]
    if subprocess.run(others, check=False, stdout=subprocess.DEVNULL).returncode == 0:
        return "an Orca is running already; a person can run one only"
    return None


class ScreenReader:
    """A running Orca and what it said."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.environment = environment
        """For programs that it is to read."""
        self._spoken = folder / "spoken"
        self._spoken.touch()
        self._heard = 0

    def said(self) -> list[str]:
        """Return each text that was said so far; those cut short end with a dash."""
        texts: list[str] = []
        for line in self._spoken.read_text().splitlines():
            if line.startswith("begin "):
                texts.append(f"{line.removeprefix('begin ')}\N{EM DASH}")
            elif texts:
                texts[-1] = texts[-1].removesuffix("\N{EM DASH}")
        return texts

    def heard(self, at_least: int = 0) -> str:
        """Return what Orca said since the last call: some texts at least, until it is quiet."""
        _wait_until(lambda: len(self.said()) >= self._heard + at_least, self._spoken)
        self._wait_until_quiet()
        said = self.said()
        new, self._heard = said[self._heard :], len(said)
        return " ".join(" ".join(new).split())

    def _wait_until_quiet(self) -> None:
        limit = time.monotonic() + HANG_GUARD_S
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < _QUIET_S:
            assert time.monotonic() < limit, f"Orca goes on talking: {self.said()[-9:]}"
            size = self._spoken.stat().st_size
            if size != seen:
                seen, since = size, time.monotonic()
            time.sleep(_POLL_S)


@contextlib.contextmanager
def screen_reader() -> Iterator[ScreenReader]:
    """Run Orca on a display of its own, and end all of it afterwards."""
    with contextlib.ExitStack() as stack:
        temporary = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        folder = Path(stack.enter_context(temporary))
        environment = {
            **{key: value for key, value in os.environ.items() if key != "WAYLAND_DISPLAY"},
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder / "runtime"),
            "XDG_DATA_HOME": str(folder / "data"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "SPEECHD_ADDRESS": f"unix_socket:{folder}/speech.sock",
            "GNOME_ACCESSIBILITY": "1",
        }

        def start(*command: str, reads_line: bool = False) -> str:
            log = stack.enter_context((folder / f"{command[0]}.log").open("w"))
            out = subprocess.PIPE if reads_line else log
            process = subprocess.Popen(command, stdout=out, stderr=log, env=environment, text=True)
            stack.callback(_end, process)
            return process.stdout.readline().strip() if process.stdout else ""

        _write_voice(folder)
        (folder / "runtime").mkdir(mode=0o700)
        screen = ("-screen", "0", "1280x900x24", "-nolisten", "tcp")
        environment["DISPLAY"] = ":" + start("Xvfb", "-displayfd", "1", *screen, reads_line=True)
        bus = ("dbus-daemon", "--session", "--nofork", "--print-address=1")
        environment["DBUS_SESSION_BUS_ADDRESS"] = start(*bus, reads_line=True)
        start("openbox", "--sm-disable")
        pid_file = f"{folder}/speech.pid"
        start("speech-dispatcher", "-s", "-C", str(folder / "speech"), "-P", pid_file)
        _wait_until((folder / "speech.sock").exists, folder / "speech-dispatcher.log")
        reader = ScreenReader(folder, environment)
        start("orca")
        _wait_until(lambda: any("reader on" in text for text in reader.said()), folder / "orca.log")
        reader.heard()
        yield reader


def _write_voice(folder: Path) -> None:
    (folder / "speech" / "modules").mkdir(parents=True)
    (folder / "speech" / "speechd.conf").write_text(_SPEECH_CONFIG.format(folder=folder))
    (folder / "speech" / "modules" / "voice.conf").write_text(_VOICE_CONFIG.format(folder=folder))
    script = folder / "voice.sh"
    script.write_text(_VOICE.format(folder=folder))
    script.chmod(0o755)


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(HANG_GUARD_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


def _wait_until(holds: Callable[[], bool], log: Path) -> None:
    limit = time.monotonic() + HANG_GUARD_S
    while not holds():
        assert time.monotonic() < limit, f"{log.name}: {log.read_text()[-500:]}"
        time.sleep(_POLL_S)
