"""The command line of `python -m vlm.models`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from vlm.checkpoints.addresses import hub_id_of
from vlm.checkpoints.catalogue import (
    KNOWN_MODELS,
    KnownModel,
    complete_folder,
    known_model,
    resolve,
)
from vlm.checkpoints.detectors import BUNDLED_DETECTOR, known_detector
from vlm.checkpoints.files import SMOLVLM
from vlm.checkpoints.hub_cache import HUB_ID, CachedRepository, content_matches
from vlm.checkpoints.pairs import BUNDLED_PAIR, known_pair
from vlm.console import make_consoles_safe
from vlm.errors import FetchError, SightlineError
from vlm.runtimes.openvino.cache import damaged_files, default_cache_folder, entries

# What a shell gives for a command that Ctrl-C ended.
_INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """The command line; returns the exit code."""
    make_consoles_safe()
    arguments = _parser().parse_args(argv)
    try:
        if arguments.command == "list":
            return _list()
        if arguments.command == "fetch":
            return _fetch(arguments.model)
        return _check(arguments.model)
    except SightlineError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped. The same command goes on where this one was.", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vlm.models", description="The models that Sightline can run."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the known models: their sizes, and which are here")
    fetch = commands.add_parser("fetch", help="download a model, or the rest of it")
    fetch.add_argument(
        "model", metavar="MODEL", help="short name, hub id, detector or dual encoder"
    )
    check = commands.add_parser("check", help="compare files and conversions with their hashes")
    check.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help="short name, hub id or folder (default: every known model that is here)",
    )
    return parser


def _list() -> int:
    rows = [("MODEL", "DOWNLOAD", "MEMORY", "HERE", "GOOD FOR")]
    rows += [_row(model) for model in KNOWN_MODELS]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
        print("  ".join(cells).rstrip())
    return 0


def _row(model: KnownModel) -> tuple[str, str, str, str, str]:
    from vlm.runtimes.load import fit
    from vlm.settings import Settings

    here = "no"
    if complete_folder(model.name) is not None:
        here = "yes"
    elif model.hub_id is not None and (
        received := CachedRepository.of(model.hub_id).received_bytes()
    ):
        here = _in_words(received)
    needed = fit(model.size, Settings(model=model.name))
    memory = _in_words(needed.needed_bytes) + ("" if needed.fits else " (too large)")
    download = _in_words(model.download_bytes) if model.hub_id else "-"
    return model.name, download, memory, here, model.good_for


def _fetch(name: str) -> int:
    from tqdm import tqdm

    from vlm.checkpoints.hub import FetchProgress, fetch

    name = hub_id_of(name) or name
    known = known_model(name)
    small = known_detector(name) or known_pair(name)
    if name in (BUNDLED_DETECTOR, BUNDLED_PAIR) or (known is not None and known.hub_id is None):
        print(f"{name} is part of Sightline: there is nothing to fetch.")
        return 0
    kind = SMOLVLM if small is None else small.kind
    found = small or known
    hub_id, revision = (found.hub_id or name, found.revision) if found else (name, "main")
    if Path(name).expanduser().is_dir() or not HUB_ID.fullmatch(hub_id):
        raise FetchError(f"{name} is neither a known model nor a hub id, such as owner/model.")
    with tqdm(desc=hub_id, unit="B", unit_scale=True) as bar:
        note = ""

        def show(progress: FetchProgress) -> None:
            nonlocal note
            bar.total = progress.total_bytes or None
            if progress.note and progress.note != note:
                tqdm.write(progress.note, file=sys.stderr)
            note = progress.note
            bar.update(progress.received_bytes - bar.n)

        folder = fetch(hub_id, revision, show, kind=kind)
    print(f"{hub_id} is complete and verified: {folder}")
    return 0


def _check(name: str | None) -> int:
    names = [name] if name is not None else [model.name for model in KNOWN_MODELS]
    folders = {model: resolve(model) if name else complete_folder(model) for model in names}
    wrong = [model for model, folder in folders.items() if folder and not _is_right(model, folder)]
    are_intact = _conversions_are_intact(folders[name] if name is not None else None)
    return 1 if wrong or not are_intact else 0


def _is_right(name: str, folder: Path) -> bool:
    files = sorted(file for file in folder.iterdir() if file.is_file())
    matches = {file.name: content_matches(file) for file in files}
    wrong = [file for file, right in matches.items() if right is False]
    for file in wrong:
        print(f"{name}: {file} does not match its hash. Fetch the model again.", file=sys.stderr)
    if wrong:
        return False
    hashed = sum(right is True for right in matches.values())
    hashes = (
        f"{hashed} of them match their hashes" if hashed else "no hashes of them are known here"
    )
    print(f"{name}: complete, {len(files)} files, {hashes}.")
    return True


def _conversions_are_intact(checkpoint: Path | None) -> bool:
    """Hash the converted models, those of `checkpoint` only if given, and print what differs."""
    conversions = entries(default_cache_folder(), checkpoint)
    damaged = {folder: names for folder in conversions if (names := damaged_files(folder))}
    for folder, names in damaged.items():
        print(
            f"The converted model in {folder} is damaged: {', '.join(names)} does not match its "
            "hash. Delete the folder; the next start converts the model again.",
            file=sys.stderr,
        )
    if conversions and not damaged:
        print(f"Converted for OpenVINO: {len(conversions)}, all files match their hashes.")
    return not damaged


def _in_words(size_bytes: int) -> str:
    if size_bytes < 1e9:
        return f"{size_bytes / 1e6:.0f} MB"
    return f"{size_bytes / 1e9:.1f} GB"


def run() -> NoReturn:
    """Run as a program: `python -m vlm.models`, or `sightline-models` of an installed wheel."""
    sys.exit(main(sys.argv[1:]))


if __name__ == "__main__":
    run()
