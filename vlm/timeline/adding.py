"""Own pictures and videos as moments: each file once, with a caption and a vector."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from PIL import ExifTags, Image

from vlm.errors import BadImageError, ImageTooLargeError, UnsupportedImageError
from vlm.images.change import has_changed, thumbnail_of
from vlm.images.files import read_image
from vlm.prompts import DEFAULT_PROMPT
from vlm.timeline import files, store
from vlm.timeline.meaning import Vector, unpacked
from vlm.timeline.pictures import small_picture
from vlm.timeline.search import picture_of
from vlm.timeline.spans import Look
from vlm.timeline.timeline import Timeline
from vlm.timeline.videos import VIDEO_SUFFIXES, frames_of

PICTURE_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".webp", ".avif", ".heic", ".heif"})
# The cosine from which on two pictures are nearly the same.
NEARLY_SAME: Final = 0.97
_PIECE_BYTES: Final = 2**20
_ERRORS: Final = (BadImageError, ImageTooLargeError, UnsupportedImageError)

Describe = Callable[[Image.Image], str]


@dataclass
class Added:
    """The files that were added, and those that were not."""

    pictures: int = 0
    videos: int = 0
    moments: int = 0
    known: int = 0
    """Files that were added before."""
    copies: int = 0
    """Files with the content of another one."""
    broken: list[tuple[Path, str]] = field(default_factory=list)
    """Files that could not be read, with the reason."""
    alike: list[tuple[str, str]] = field(default_factory=list)
    """New pictures with one that is nearly the same, of those whose small pictures are kept."""


@dataclass(frozen=True)
class _File:
    path: str
    size: int
    modified_s: float
    content: str
    """A hash of its bytes."""


def find_files(paths: Sequence[Path]) -> Iterator[Path]:
    """Yield the pictures and videos in folders, by their names, and all `paths` that are files.

    Hidden files and folders are left out, and links to folders are not followed.
    """
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        for folder, folders, names in os.walk(path):
            folders[:] = sorted(each for each in folders if not each.startswith("."))
            for name in sorted(names):
                suffix = Path(name).suffix.lower()
                if not name.startswith(".") and suffix in PICTURE_SUFFIXES | VIDEO_SUFFIXES:
                    yield Path(folder) / name


def add_files(
    timeline: Timeline,
    paths: Iterable[Path],
    describe: Describe,
    model: str,
    *,
    with_pictures: bool,
    told: Callable[[str], None] = lambda _: None,
    done: Added | None = None,
) -> Added:
    """Add the files of `paths` to `timeline`, and return what became of them; `done`, if given.

    `describe` returns the caption of an RGB image; `model` is its name. Each picture and each
    moment of a video is written as it is captioned, so that a run that was stopped goes on where it
    was. A file that cannot be read stops nothing. `told` receives what is being done. Moments are
    kept whatever their age. Raise TimelineError if the timeline cannot be written.
    """
    done = Added() if done is None else done
    adder = _Adder(timeline, describe, model, with_pictures, done)
    for path in paths:
        told(path.name)
        try:
            adder.add(path.resolve())
        except _ERRORS as error:
            done.broken.append((path, str(error)))
        except OSError as error:
            done.broken.append((path, f"It cannot be read: {error.strerror}."))
    return done


class _Adder:
    def __init__(
        self,
        timeline: Timeline,
        describe: Describe,
        model: str,
        with_pictures: bool,
        done: Added,
    ) -> None:
        self._timeline = timeline
        self._describe = describe
        self._model = model
        self._with_pictures = with_pictures
        self._done = done

    def add(self, path: Path) -> None:
        if self._is_unchanged(path):
            self._done.known += 1
            return
        file = _file_of(path)
        known, until_s, copy = self._known(file)
        if known:
            self._done.known += 1
        elif copy:
            self._done.copies += 1
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            self._add_video(path, file, until_s)
            self._done.videos += 1
        else:
            image = read_image(path)
            at_s = _taken_s(path, file.modified_s)
            look = self._look(file, at_s, self._describe(image), image)
            made = self._timeline.vectors.of_image(image)

            def write(connection: sqlite3.Connection) -> None:
                self._insert(connection, look, made)
                files.set_file(connection, *_row(file), None)

            self._timeline.write(write)
            self._done.pictures += 1

    def _is_unchanged(self, path: Path) -> bool:
        """Return whether a file was added to its end, and has its size and time still."""
        stat = path.stat()
        row = self._timeline.write(lambda each: files.find_file(each, str(path)))
        if row is None or row.until_s is not None:
            return False
        return (row.size, row.modified_s) == (stat.st_size, stat.st_mtime)

    def _known(self, file: _File) -> tuple[bool, float, bool]:
        """Return whether a file is in the timeline, a video's place to go on, and whether it is a
        copy of another file.

        What is kept of a file that was changed since is deleted.
        """

        def read(connection: sqlite3.Connection) -> tuple[bool, float, bool]:
            row = files.find_file(connection, file.path)
            if row is not None:
                if row.content == file.content:
                    files.set_file(connection, *_row(file), row.until_s)
                    return row.until_s is None, row.until_s or 0.0, False
                files.forget_file(connection, file.path)
            return False, 0.0, files.has_content(connection, file.content)

        return self._timeline.write(read)

    def _add_video(self, path: Path, file: _File, from_s: float) -> None:
        """Caption the frames that changed; what is between two of them looks like the first."""
        captioned = None
        moment, text = self._timeline.write(lambda each: files.last_moment(each, file.path))
        for frame in frames_of(path, from_s):
            thumbnail = thumbnail_of(frame.image)
            # A camera writes the end last, so the file's time is that of the video's end.
            at_s, is_new = file.modified_s - frame.length_s + frame.at_s, False
            if captioned is None or has_changed(captioned, thumbnail):
                captioned, last = thumbnail, text
                text = self._describe(frame.image)
                is_new = text != last or not moment
            look = self._look(file, at_s, text, frame.image)
            row = (*_row(file), frame.at_s)
            made = self._timeline.vectors.of_image(frame.image) if is_new else None

            def write(
                connection: sqlite3.Connection,
                look: Look = look,
                made: tuple[str, bytes] | None = made,
                is_new: bool = is_new,
                moment: int = moment,
                row: tuple[str, int, float, str, float] = row,
            ) -> int:
                files.set_file(connection, *row)
                if is_new:
                    return self._insert(connection, look, made)
                files.prolong(connection, moment, look.at_s)
                return moment

            moment = self._timeline.write(write)
        if captioned is None and from_s == 0:
            raise BadImageError("It has no frame that can be read.")
        self._timeline.write(lambda connection: files.set_file(connection, *_row(file), None))

    def _look(self, file: _File, at_s: float, text: str, image: Image.Image) -> Look:
        return Look(
            at_s,
            text,
            camera=file.path,
            source=Path(file.path).name,
            model=self._model,
            question=DEFAULT_PROMPT,
            image=image,
        )

    def _insert(
        self, connection: sqlite3.Connection, look: Look, made: tuple[str, bytes] | None
    ) -> int:
        """Insert a moment with its small picture and its vector `made`; return its id."""
        moment = store.insert_moment(connection, look, kept=True)
        self._done.moments += 1
        assert look.image is not None
        jpeg = small_picture(look.image) if self._with_pictures else None
        if jpeg is not None:
            store.insert_picture(connection, moment, jpeg)
        if made is not None:
            self._compare(connection, look, look.image, unpacked(made[1]))
            store.insert_vector(connection, moment, *made)
        return moment

    def _compare(
        self, connection: sqlite3.Connection, look: Look, image: Image.Image, vector: Vector
    ) -> None:
        """Note that a moment of another file looks nearly the same.

        A vector says what a picture shows; two that show the same are not yet the same picture.
        """
        for other, _ in self._timeline.vectors.nearest(connection, vector, 1, NEARLY_SAME):
            name, jpeg = files.camera_of(connection, other), picture_of(connection, other)
            if name in (None, look.camera) or jpeg is None:
                continue
            with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as small:
                before = thumbnail_of(small.convert("RGB"))
            if not has_changed(before, thumbnail_of(image)):
                self._done.alike.append((look.camera, str(name)))


def _file_of(path: Path) -> _File:
    stat = path.stat()
    digest = hashlib.sha256()
    with path.open("rb") as opened:
        while piece := opened.read(_PIECE_BYTES):
            digest.update(piece)
    return _File(str(path), stat.st_size, stat.st_mtime, digest.hexdigest())


def _row(file: _File) -> tuple[str, int, float, str]:
    return file.path, file.size, file.modified_s, file.content


def _taken_s(path: Path, modified_s: float) -> float:
    """Return when a picture was taken by its EXIF, else when its file was last changed."""
    # A damaged EXIF can raise nearly anything.
    with suppress(Exception), Image.open(path) as image:
        exif = image.getexif()
        taken = exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal)
        if isinstance(taken, str):
            return datetime.strptime(taken.strip("\0 "), "%Y:%m:%d %H:%M:%S").timestamp()
    return modified_s
