"""The command line of `python -m vlm.timeline`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Final

from PIL import Image
from tqdm import tqdm

from vlm.console import make_consoles_safe
from vlm.errors import BadRequestError, SettingsError, TimelineError
from vlm.finder.finder import Finder
from vlm.finder.meaning import Meaning
from vlm.images.files import INTERRUPTED, exit_code_of
from vlm.images.frame import Frame
from vlm.models.candidates import settings_here
from vlm.models.loading import load_engine
from vlm.prompts import DEFAULT_PROMPT
from vlm.settings import Settings
from vlm.timeline.adding import Added, add_files, find_files
from vlm.timeline.database import default_file
from vlm.timeline.exports import FORMATS, write_chapters, write_srt
from vlm.timeline.imports import add_imported, read_lines
from vlm.timeline.query import DEFAULT_MOMENTS, MOST_MOMENTS, Query
from vlm.timeline.records import time_of
from vlm.timeline.search import search
from vlm.timeline.store import DAY_S
from vlm.timeline.timeline import Timeline
from vlm.timeline.videos import VIDEO_SUFFIXES

# Of nearly the same pictures and of broken files so many are named.
_NAMED: Final = 20
_HOUR_S: Final = 3600.0


def main(argv: Sequence[str], env: Mapping[str, str]) -> int:
    """Run the command; return the exit code, 1 if something could not be done."""
    make_consoles_safe()
    arguments = _parser().parse_args(argv)

    def command() -> int:
        flags = ["--model", arguments.model] if getattr(arguments, "model", None) else []
        settings = Settings.from_args(flags, env)
        named = arguments.file or settings.timeline_file
        file = Path(named) if named else default_file()
        with closing(Timeline(file)) as timeline:
            return int(arguments.run(arguments, settings, timeline))

    return exit_code_of(command)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vlm.timeline", description="What was kept: add to it, find, export, delete."
    )
    parser.add_argument("--file", help="the timeline's file (default: that of the server)")
    commands = parser.add_subparsers(dest="command", required=True)

    add = commands.add_parser("add", help="caption own pictures and videos, and keep the captions")
    add.add_argument("paths", metavar="FOLDER|FILE", nargs="+", type=Path)
    add.add_argument("--words", action="store_true", help="keep no small pictures")
    add.add_argument(
        "--subtitles", metavar="FOLDER", type=Path, help="write SRT and chapters of videos there"
    )
    add.add_argument("--model", help="as for app.py (default: the best one here)")
    add.set_defaults(run=_add)

    find = commands.add_parser("search", help="print moments with these words")
    find.add_argument("words", metavar="WORD", nargs="+")
    find.add_argument("--limit", type=int, default=DEFAULT_MOMENTS, help="default: %(default)s")
    find.set_defaults(run=_search)

    export = commands.add_parser("export", help="write all moments in another form")
    export.add_argument("format", choices=FORMATS)
    export.add_argument("--out", type=Path, help="a file (default: the terminal)")
    export.add_argument("--from", dest="from_s", metavar="TIME", type=_time, help="ISO 8601")
    export.add_argument("--to", dest="to_s", metavar="TIME", type=_time)
    export.add_argument("--camera", default="", help="a camera, a source, or the path of a file")
    export.set_defaults(run=_export)

    read = commands.add_parser("import", help="read what was exported as jsonl")
    read.add_argument("lines", metavar="FILE", type=Path)
    read.set_defaults(run=_import)

    delete = commands.add_parser("delete", help="delete for good")
    which = delete.add_mutually_exclusive_group(required=True)
    which.add_argument("--last-hour", action="store_true")
    which.add_argument("--day", metavar="YYYY-MM-DD", type=_day)
    which.add_argument("--all", action="store_true")
    delete.add_argument("--yes", action="store_true", help="do not ask")
    delete.set_defaults(run=_delete)
    return parser


def _time(text: str) -> float:
    """Return a local time in ISO 8601 as seconds since 1970."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text} is no time such as 2026-05-04T18:00") from None


def _day(text: str) -> float:
    """Return the begin of a local day."""
    try:
        return datetime.strptime(text, "%Y-%m-%d").timestamp()
    except (ValueError, OverflowError, OSError):
        raise argparse.ArgumentTypeError(f"{text} is no day such as 2026-05-04") from None


def _add(arguments: argparse.Namespace, settings: Settings, timeline: Timeline) -> int:
    for path in arguments.paths:
        if not path.exists():
            raise SettingsError(f"{path} does not exist.")
    # Whether they can be written is known before the model is loaded.
    timeline.write(lambda connection: None)
    if arguments.subtitles is not None:
        try:
            arguments.subtitles.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SettingsError(
                f"{arguments.subtitles} cannot be made: {error.strerror}."
            ) from None
    settings = settings_here(settings, "New pictures need")
    engine = load_engine(settings)
    finder = Finder(settings)
    if finder.pair.is_usable:
        finder.pair.get()
        timeline.use_meaning(Meaning(finder.pair))

    def describe(image: Image.Image) -> str:
        request = Frame(image).request(DEFAULT_PROMPT, settings.max_tokens)
        return engine.run(request).text.strip()

    files = [*find_files(arguments.paths)]
    added = Added()
    try:
        with tqdm(files, "files", unit="file", disable=not sys.stderr.isatty()) as bar:
            add_files(
                timeline,
                bar,
                describe,
                engine.info.model,
                with_pictures=not arguments.words,
                told=bar.set_postfix_str,
                done=added,
            )
    except KeyboardInterrupt:
        _print(added, timeline)
        print("Stopped. The same command goes on where this one was.", file=sys.stderr)
        return INTERRUPTED
    _print(added, timeline)
    if arguments.subtitles is not None:
        _write_subtitles(arguments.subtitles, files, timeline)
    return 1 if added.broken else 0


def _print(added: Added, timeline: Timeline) -> None:
    print(
        f"Added {added.pictures} pictures and {added.videos} videos as {added.moments} moments to "
        f"{timeline.file}. Known before: {added.known}. Copies of others: {added.copies}."
    )
    if added.alike:
        print(f"Nearly the same as another: {len(added.alike)}.")
        for new, other in added.alike[:_NAMED]:
            print(f"  {new} ~ {other}")
    if added.broken:
        print(f"Not added: {len(added.broken)}.", file=sys.stderr)
        for path, why in added.broken:
            print(f"  {path}: {why}", file=sys.stderr)


def _write_subtitles(folder: Path, files: Sequence[Path], timeline: Timeline) -> None:
    with timeline.reading() as connection:
        assert connection is not None, "something was written"
        for file in files:
            if file.suffix.lower() in VIDEO_SUFFIXES:
                query = Query(camera=str(file.resolve()))
                for write, suffix in ((write_srt, ".srt"), (write_chapters, ".chapters.txt")):
                    text = "".join(write(connection, query))
                    if text:
                        _write_text(folder / f"{file.stem}{suffix}", [text])


def _search(arguments: argparse.Namespace, settings: Settings, timeline: Timeline) -> int:
    if not 1 <= arguments.limit <= MOST_MOMENTS:
        raise BadRequestError(f"--limit must be from 1 to {MOST_MOMENTS}.")
    finder = Finder(settings)
    if finder.pair.is_usable:
        finder.pair.get()
        timeline.use_meaning(Meaning(finder.pair))
    query = Query(" ".join(arguments.words), limit=arguments.limit)
    with timeline.reading() as connection:
        moments = () if connection is None else search(connection, query, timeline.vectors).moments
    for each in moments:
        where = each.source or each.camera
        print(f"{time_of(each.from_s, time.time())}  {where + ': ' if where else ''}{each.text}")
    if not moments:
        print("Nothing was found.", file=sys.stderr)
    return 0 if moments else 1


def _export(arguments: argparse.Namespace, settings: Settings, timeline: Timeline) -> int:
    del settings
    query = Query(from_s=arguments.from_s, to_s=arguments.to_s, camera=arguments.camera)
    if query.from_s is not None and query.to_s is not None and query.to_s <= query.from_s:
        raise BadRequestError("--to must be later than --from.")
    with timeline.reading() as connection:
        if connection is None:
            raise TimelineError("Nothing was ever kept.")
        pieces = FORMATS[arguments.format].write(connection, query)
        if arguments.out is None:
            for piece in pieces:
                sys.stdout.write(piece)
            return 0
        _write_text(arguments.out, pieces)
    return 0


def _write_text(file: Path, pieces: Iterable[str]) -> None:
    try:
        with file.open("w", encoding="utf-8", newline="") as out:
            out.writelines(pieces)
    except OSError as error:
        raise SettingsError(f"{file} cannot be written: {error.strerror}.") from None


def _import(arguments: argparse.Namespace, settings: Settings, timeline: Timeline) -> int:
    del settings
    try:
        with arguments.lines.open(encoding="utf-8") as opened:
            items = [*read_lines(opened)]
    except UnicodeDecodeError:
        raise SettingsError(f"{arguments.lines} is not in UTF-8.") from None
    except OSError as error:
        raise SettingsError(f"{arguments.lines} cannot be read: {error.strerror}.") from None
    done = timeline.write(lambda connection: add_imported(connection, items))
    print(f"Imported {done.moments} moments and {done.gaps} gaps; {done.known} were there already.")
    return 0


def _delete(arguments: argparse.Namespace, settings: Settings, timeline: Timeline) -> int:
    del settings
    from_s = to_s = None
    if arguments.last_hour:
        from_s = time.time() - _HOUR_S
    elif arguments.day is not None:
        from_s, to_s = arguments.day, arguments.day + DAY_S
    if not arguments.yes:
        answer = input("This cannot be undone. Delete? [y/N] ") if sys.stdin.isatty() else ""
        if answer.strip().lower() not in ("y", "yes"):
            print("Nothing was deleted. (Without a terminal: --yes.)", file=sys.stderr)
            return 1
    deleted = timeline.delete(from_s, to_s)
    print(f"Deleted {deleted.moments} moments.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
