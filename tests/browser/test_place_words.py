"""What the page says of where pictures go: the truth, whoever runs the model and wherever."""

from __future__ import annotations

import pytest
from state_core import LOADING, STATUS
from told_upstreams import ENCRYPTED, FAR, NEAR, OTHER, TITLE, UNREACHABLE, remote, upstream

HERE, ELSEWHERE = "localhost", "192.168.1.20"


def privacy(core, status, host=HERE):
    return core.run("return M.privacyText(...arg);", [status, host])


def told(core, *origins, host=HERE):
    return privacy(core, STATUS | remote(*map(upstream, origins)), host)


def test_nothing_is_claimed_before_the_server_has_said_where_pictures_go(core):
    assert privacy(core, None) == ""


@pytest.mark.parametrize(("host", "place"), [(HERE, "this computer"), (ELSEWHERE, ELSEWHERE)])
def test_where_the_model_runs_beside_the_server_pictures_go_nowhere_else(core, host, place):
    for status in (STATUS, STATUS | {"remote": None}):
        assert privacy(core, status, host).endswith(f"model on {place}, and nowhere else.")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_pictures_that_leave_the_computer_are_said_to(core, host):
    words = told(core, FAR, host=host)
    assert "leave this computer" in words
    assert FAR in words
    assert "nowhere else" not in words


def test_from_another_device_both_legs_of_the_way_are_told(core):
    words = told(core, FAR, host=ELSEWHERE)
    assert words.index(ELSEWHERE) < words.index(FAR)
    assert "this computer" not in words


@pytest.mark.parametrize("near", [NEAR, "http://localhost:9", "http://[::1]:9", "http://127.8.8.8"])
def test_another_program_on_this_computer_is_told_as_that(core, near):
    words = told(core, near)
    assert f"another program on this computer: {near}" in words
    assert "leave" not in words
    assert "encrypted" not in words
    assert "other programs on this computer" in told(core, near, "http://localhost:1")


@pytest.mark.parametrize(
    "far", ["http://127.0.0.1.example.org", "http://localhost.example.org", "http://0.0.0.0:9"]
)
def test_what_only_looks_like_this_computer_is_not_taken_for_it(core, far):
    assert "leave this computer" in told(core, far)


def test_one_server_elsewhere_among_others_is_enough_to_leave(core):
    assert "leave this computer" in told(core, NEAR, FAR)


def test_a_way_that_anybody_can_read_along_is_told(core):
    assert told(core, FAR).endswith("The way there is not encrypted.")
    assert told(core, FAR, ENCRYPTED).endswith("The way to some of them is not encrypted.")
    assert "encrypted" not in told(core, ENCRYPTED)


def test_of_many_servers_some_are_named_and_the_others_counted(core):
    words = told(core, *(f"http://10.0.0.{n}:8000" for n in range(5)))
    assert "http://10.0.0.2:8000 and 2 more, where" in words
    assert "10.0.0.3" not in words


def test_the_badge_names_the_model_and_no_device_that_is_not_here(core):
    core.live(status=STATUS | remote(upstream(FAR)))
    assert core.run("return M.serverLine(arg);", core.state) == {"tone": "good", "text": TITLE}


def test_servers_of_which_none_answers_are_a_problem_with_their_reasons(core):
    core.live(status=STATUS | remote(upstream(FAR, UNREACHABLE), upstream(OTHER, "is busy.")))
    notice = core.notice()
    assert (notice["id"], notice["tone"]) == ("upstreams-down", "problem")
    assert f"{FAR} {UNREACHABLE}" in notice["text"]
    assert f"{OTHER} is busy." in notice["text"]
    assert notice["actions"]
    assert core.run("return M.serverLine(arg);", core.state)["tone"] == "problem"


def test_while_one_of_them_answers_nobody_is_disturbed(core):
    core.live(status=STATUS | remote(upstream(FAR, UNREACHABLE), upstream(OTHER)))
    assert core.notice() is None
    standings = core.run("return M.upstreamsOf(arg);", core.state)
    assert [each["standing"] for each in standings] == ["problem", "good"]
    assert standings[0]["facts"] == "Cannot be reached: nothing listens there."


def test_why_the_first_answer_is_waited_for_is_told_before_and_after_the_start(core):
    waiting = LOADING | remote(upstream(FAR, UNREACHABLE)) | {"progress": f"Waiting for {FAR}"}
    core.live(status=waiting)
    assert core.notice()["text"].startswith(f"Waiting for {FAR}. Captions begin")
    welcome = core.run("return M.welcomeOf(arg, 'localhost');", core.state)
    assert welcome["loading"].startswith(f"Waiting for {FAR}. You can start")


def test_a_server_that_gave_no_caption_is_told_in_its_words(core):
    core.live().tell("look-begun")
    core.tell("pass-failed", id=1, kind="upstream", message=f"{FAR} fell silent.")
    notice = core.notice(1)
    assert notice["title"].endswith("gave no caption")
    assert notice["text"] == f"{FAR} fell silent."
