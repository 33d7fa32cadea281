"""The routes of the timeline over the bundled model: consent, keeping, finding, deleting."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from vlm.errors import SettingsError
from vlm.scheduler.worker import Worker
from vlm.settings import Settings
from vlm.timeline.timeline import Timeline
from web_client import JPEG, app_over, picture, read_events


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "kept.sqlite3"


@pytest.fixture
def client(web_worker: Worker, file: Path) -> Iterator[FlaskClient]:
    app = app_over(web_worker, Settings(timeline_file=str(file)))
    yield app.test_client()
    app.extensions["timeline"].close()


def timeline_of(client: FlaskClient) -> Timeline:
    found: Timeline = client.application.extensions["timeline"]
    return found


def caption(client: FlaskClient, **fields: str) -> str:
    given = {"camera": "door", "source": "Front door", **fields}
    answer = client.post("/api/captions", query_string=given, data=picture(), headers=JPEG)
    text: str = read_events(answer.text)[-1][1]["text"]
    timeline_of(client).settle()
    return text


def get(client: FlaskClient, path: str, **query: Any) -> Any:
    answer = client.get(f"/api/timeline{path}", query_string=query)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def test_nothing_is_kept_before_a_yes_and_everything_can_be_deleted(
    client: FlaskClient, file: Path
) -> None:
    caption(client)
    assert get(client, "")["moments"] == []
    assert get(client, "/settings")["keep"] == "off"
    assert client.post("/api/timeline/settings", json={"keep": "off"}).status_code == 200
    assert not file.parent.exists()

    chosen = client.post("/api/timeline/settings", json={"keep": "pictures", "days": 30, "mb": 99})
    assert (chosen.get_json()["keep"], chosen.get_json()["file"]) == ("pictures", str(file))
    said = caption(client)
    caption(client)
    answered = caption(client, kind="question", prompt="What is here?")
    # The page asks once more for what the words of an answer looked at.
    caption(client, kind="question", prompt="What is here?", explain="1", alternatives="5")
    answer, moment = get(client, "")["moments"]
    assert (moment["text"], moment["kind"], moment["source"]) == (said, "caption", "Front door")
    assert moment["from"] < moment["to"]
    assert (answer["text"], answer["question"]) == (answered, "What is here?")
    found = get(client, "", q=said.split()[-1].strip("."))["moments"]
    assert moment["id"] in {each["id"] for each in found} and found[0]["why"]["words"]
    small = client.get(f"/api/timeline/moments/{moment['id']}/picture")
    assert small.mimetype == "image/jpeg" and small.data.startswith(b"\xff\xd8")
    assert sum(each["captions"] for each in get(client, "/days")["half_hours"]) == 1

    kept = client.post(f"/api/timeline/moments/{moment['id']}/keep", json={"kept": True})
    assert kept.get_json()["kept"]
    assert get(client, "", kept=1)["moments"] == [moment | {"kept": True}]
    deleted = client.delete("/api/timeline").get_json()
    assert deleted["moments"] == 2
    assert get(client, "")["moments"] == []
    assert client.get(f"/api/timeline/moments/{moment['id']}").status_code == 404
    undone = client.post("/api/timeline/undo", json={"deletion": deleted["deletion"]})
    assert undone.get_json() == {"moments": 2}
    assert len(get(client, "")["moments"]) == 2
    assert client.post("/api/timeline/undo", json={}).status_code == 404
    assert client.delete(f"/api/timeline/moments/{answer['id']}").get_json()["moments"] == 1
    assert [each["id"] for each in get(client, "")["moments"]] == [moment["id"]]


def test_a_gap_that_the_page_reports_ends_with_the_next_caption(client: FlaskClient) -> None:
    client.post("/api/timeline/settings", json={"keep": "words"})
    caption(client)
    reported = client.post("/api/timeline/gaps", json={"camera": "door", "why": "hidden"})
    assert reported.status_code == 204
    timeline_of(client).settle()
    assert get(client, "")["gaps"][0] | {"from": 0} == {
        "from": 0, "to": None, "camera": "door", "source": "", "why": "hidden",
    }  # fmt: skip
    caption(client)
    found = get(client, "")
    newer, older = found["moments"]
    (gap,) = found["gaps"]
    assert newer["text"] == older["text"] and not newer["picture"]
    assert older["to"] <= gap["from"] <= gap["to"] == newer["from"]


def test_pages_of_moments_join_without_a_hole(client: FlaskClient) -> None:
    client.post("/api/timeline/settings", json={"keep": "words"})
    for _ in range(5):
        caption(client, kind="question", prompt="What is here?")
    for query in ({}, {"q": "here"}):
        ids, before = [], ""
        while before is not None:
            found = get(client, "", limit=2, before=before, **query)
            ids += [each["id"] for each in found["moments"]]
            before = found["before"]
            assert found["more"] == (before is not None)
        assert ids == [5, 4, 3, 2, 1]


def test_what_is_exported_can_be_imported_again(client: FlaskClient) -> None:
    client.post("/api/timeline/settings", json={"keep": "pictures"})
    caption(client)
    caption(client, kind="question", prompt="What is here?")
    for form in ("txt", "csv", "srt", "vtt", "html", "report"):
        answer = client.get("/api/timeline/export", query_string={"format": form})
        assert answer.status_code == 200 and answer.text, form
        assert "attachment" in answer.headers["Content-Disposition"]
    lines = client.get("/api/timeline/export?format=jsonl").text
    known = client.post("/api/timeline/import", data=lines).get_json()
    assert known == {"moments": 0, "gaps": 0, "known": 2}
    client.delete("/api/timeline")
    wrong = client.post("/api/timeline/import", data=lines + "{}\n")
    assert wrong.status_code == 400 and "Line 3" in wrong.text
    assert get(client, "")["moments"] == []
    assert client.post("/api/timeline/import", data=lines).get_json()["moments"] == 2
    assert client.get("/api/timeline/export?format=jsonl").text == lines


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/export?format=pdf", None),
        ("GET", "?like=0", None),
        ("POST", "/import", "no line"),
        ("GET", "?from=1e400", None),
        ("GET", "?limit=0", None),
        ("GET", "?kind=nothing", None),
        ("GET", "?before=%27%20OR%201", None),
        ("GET", f"?q={'a' * 501}", None),
        ("DELETE", "?to=now", None),
        ("POST", "/settings", {"keep": "all"}),
        ("POST", "/settings", {"days": 2}),
        ("POST", "/settings", {"mb": True}),
        ("POST", "/settings", [1]),
        ("POST", "/settings", {"keep": "a" * 5000}),
        ("POST", "/gaps", {"camera": "door"}),
        ("POST", "/gaps", {"camera": "door", "why": "bored"}),
        ("POST", "/undo", {"deletion": 0}),
    ],
)
def test_bad_fields_are_refused(
    client: FlaskClient, file: Path, method: str, path: str, body: Any
) -> None:
    answer = client.open(f"/api/timeline{path}", method=method, json=body)
    assert answer.status_code == 400
    assert answer.get_json()["error"]["code"] == "bad_request"
    assert not file.exists()


def test_no_timeline_means_none(web_worker: Worker, file: Path) -> None:
    settings = Settings(timeline_file=str(file), no_timeline=True)
    client = app_over(web_worker, settings).test_client()
    assert not get(client, "/settings")["available"]
    refused = client.post("/api/timeline/settings", json={"keep": "words"})
    assert (refused.status_code, refused.get_json()["error"]["code"]) == (503, "part_off")
    assert not file.exists()
    with pytest.raises(SettingsError, match="exclude"):
        Settings.from_args(["--timeline", "words", "--no-timeline"], {})


def test_only_this_machine_sees_what_was_kept(client: FlaskClient) -> None:
    answer = client.get("/api/timeline", environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert answer.status_code == 403
