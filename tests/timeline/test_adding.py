"""Own pictures and videos in the timeline: each once, broken ones told, stopped runs go on."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import av
import pytest
from PIL import Image

from tools.nano.scenes import make_frame
from vlm.engine.engine import Engine
from vlm.finder.meaning import Meaning
from vlm.finder.parts import Part
from vlm.images.frame import Frame
from vlm.pairs.load import load_pair
from vlm.timeline.adding import Added, add_files, find_files
from vlm.timeline.exports import write_chapters, write_srt
from vlm.timeline.query import Query
from vlm.timeline.timeline import Timeline

ROOT = Path(__file__).parents[2]
FPS = 5
SCENES = 3
SCENE_S = 12


def scene(index: int) -> Image.Image:
    return make_frame(index, "held_out").image


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four pictures in two folders, a copy, a video, and files that cannot be read."""
    folder = tmp_path_factory.mktemp("album")
    (folder / "sub").mkdir()
    for index in range(4):
        scene(index).save(folder / ("sub" if index % 2 else ".") / f"{index}.jpg")
    shutil.copy(folder / "0.jpg", folder / "copy.jpg")
    whole = (folder / "0.jpg").read_bytes()
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.webp").write_bytes(b"")
    (folder / "no.mp4").write_bytes(b"no video" * 50)
    (folder / "note.txt").write_text("not looked at")
    (folder / ".hidden.jpg").write_bytes(whole)
    with av.open(str(folder / "clip.mp4"), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=FPS)
        stream.width = stream.height = 256
        stream.pix_fmt = "yuv420p"
        for index in range(SCENES):
            image = scene(20 + index).resize((256, 256))
            for _ in range(SCENE_S * FPS):
                clip.mux(stream.encode(av.VideoFrame.from_image(image)))
        clip.mux(stream.encode())
    return folder


@pytest.fixture
def describe(engine: Engine) -> Callable[[Image.Image], str]:
    return lambda image: engine.run(Frame(image).request("Describe this image briefly.", 64)).text


@pytest.fixture
def timeline(tmp_path: Path) -> Iterator[Timeline]:
    kept = Timeline(tmp_path / "kept.sqlite3")
    kept.use_meaning(Meaning(Part("dual encoder", "nano-pair", lambda: load_pair("nano-pair"))))
    yield kept
    kept.close()


def add(timeline: Timeline, album: Path, describe: Callable[[Image.Image], str]) -> Added:
    return add_files(timeline, find_files([album]), describe, "nano", with_pictures=True)


def rows(timeline: Timeline) -> list[tuple[object, ...]]:
    with timeline.reading() as connection:
        assert connection is not None
        return connection.execute(
            "SELECT camera, text, from_s, to_s, kept FROM moments ORDER BY camera, from_s"
        ).fetchall()


def test_each_file_is_added_once_and_broken_ones_stop_nothing(
    timeline: Timeline, album: Path, describe: Callable[[Image.Image], str]
) -> None:
    added = add(timeline, album, describe)
    assert (added.pictures, added.videos, added.copies) == (4, 1, 1)
    assert {path.name for path, _ in added.broken} == {"cut.png", "empty.webp", "no.mp4"}
    assert all(why.endswith(".") and str(album) not in why for _, why in added.broken)
    first = rows(timeline)
    assert len(first) == added.moments == 4 + SCENES
    again = add(timeline, album, describe)
    assert (again.known, again.moments, rows(timeline)) == (5, 0, first)
    # A picture that was saved anew, smaller, is nearly the same; another one is not.
    assert added.alike == []
    smaller = album / "sub" / "smaller.jpg"
    scene(0).save(smaller, quality=60)
    assert add(timeline, album, describe).alike == [
        (str(smaller.resolve()), str((album / "0.jpg").resolve()))
    ]
    smaller.unlink()
    # A file with another content is another picture.
    changed = album / "sub" / "1.jpg"
    before = changed.read_bytes()
    try:
        scene(30).save(changed)
        assert add(timeline, album, describe).pictures == 1
    finally:
        changed.write_bytes(before)
    assert len(rows(timeline)) == len(first) + 1 and rows(timeline)[: len(first)] != first


def test_a_video_gets_moments_subtitles_and_chapters(
    timeline: Timeline, album: Path, describe: Callable[[Image.Image], str]
) -> None:
    add(timeline, album, describe)
    query = Query(camera=str((album / "clip.mp4").resolve()))
    with timeline.reading() as connection:
        assert connection is not None
        chapters = "".join(write_chapters(connection, query)).splitlines()
        subtitles = "".join(write_srt(connection, query))
    assert [each.split()[0] for each in chapters] == ["0:00:00", "0:00:12", "0:00:24"]
    assert subtitles.count(" --> ") == SCENES
    assert "00:00:12,000 --> 00:00:23,000" in subtitles


@pytest.mark.parametrize("calls", [2, 5, 6])
def test_a_run_that_was_stopped_goes_on_where_it_was(
    timeline: Timeline,
    tmp_path: Path,
    album: Path,
    describe: Callable[[Image.Image], str],
    calls: int,
) -> None:
    left = calls

    def stopped(image: Image.Image) -> str:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return describe(image)

    with pytest.raises(KeyboardInterrupt):
        add(timeline, album, stopped)
    assert 0 < len(rows(timeline)) <= calls
    add(timeline, album, describe)
    whole = Timeline(tmp_path / "whole.sqlite3")
    add(whole, album, describe)
    assert rows(timeline) == rows(whole)
    whole.close()


def test_what_is_deleted_is_forgotten_with_its_file(
    timeline: Timeline, album: Path, describe: Callable[[Image.Image], str]
) -> None:
    add(timeline, album, describe)
    timeline.delete()
    timeline.close()
    later = Timeline(timeline.file)
    with later.reading() as connection:
        assert connection is not None
        assert connection.execute("SELECT count(*) FROM files").fetchone() == (0,)
    assert add(later, album, describe).pictures == 4
    later.close()


def test_the_command_adds_finds_exports_and_deletes(album: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        file = ["--file", str(tmp_path / "kept.sqlite3")]
        done = subprocess.run(
            [sys.executable, "-m", "vlm.timeline", *file, *arguments],
            cwd=ROOT,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        assert "Traceback" not in done.stderr
        return done.returncode, done.stdout, done.stderr

    folder = str(tmp_path / "subtitles")
    code, out, err = run("add", str(album), "--model", "nano", "--subtitles", folder)
    assert code == 1 and "Added 4 pictures and 1 videos as 7 moments" in out
    assert "no.mp4: It cannot be read as a video" in err
    assert {each.name for each in Path(folder).iterdir()} == {"clip.srt", "clip.chapters.txt"}
    code, out, _ = run("export", "jsonl")
    assert code == 0 and out.count("\n") == 7
    lines = tmp_path / "lines.jsonl"
    lines.write_text(out, "utf-8")
    assert run("search", "elephants")[0] == 1
    assert run("delete", "--all")[0] == 1
    assert run("delete", "--all", "--yes")[1] == "Deleted 7 moments.\n"
    assert "Imported 7 moments" in run("import", str(lines))[1]
    # Subtitles of a folder that is not there, and the file of a server that runs.
    for arguments, words in (
        (("add", str(tmp_path / "nothing")), "does not exist"),
        (("export", "txt", "--out", str(tmp_path / "no" / "out")), "cannot be written"),
        (("import", str(album / "0.jpg")), "UTF-8"),
    ):
        code, _, err = run(*arguments)
        assert code == 1 and words in err, arguments
    with_lock = Timeline(tmp_path / "kept.sqlite3")
    code, _, err = run("add", str(album), "--model", "nano")
    with_lock.close()
    assert code == 1 and "Another Sightline on this machine" in err
