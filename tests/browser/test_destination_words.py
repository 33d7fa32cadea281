"""The texts about where pictures go are true for every place of the model."""

from __future__ import annotations

from state_core import LOADING, STATUS
from upstream_states import ENCRYPTED, FAR, NEAR, OTHER, TITLE, UNREACHABLE, remote, upstream

HERE, ELSEWHERE = "localhost", "192.168.1.20"


def privacy(core, status, host=HERE):
    return core.run("return M.privacyText(...arg);", [status, host])


def privacy_of(core, *origins, host=HERE):
    return privacy(core, STATUS | remote(*map(upstream, origins)), host)


def test_privacy_text_is_empty_until_the_status_is_known(core):
    assert privacy(core, None) == ""


def test_local_model_keeps_pictures_on_the_servers_machine(core):
    for host, machine in ((HERE, "this computer"), (ELSEWHERE, ELSEWHERE)):
        for status in (STATUS, STATUS | {"remote": None}):
            assert privacy(core, status, host).endswith(f"model on {machine}, and nowhere else.")


def test_remote_model_means_pictures_leave_this_computer(core):
    for host in ("localhost", "127.0.0.1", "[::1]"):
        text = privacy_of(core, FAR, host=host)
        assert "leave this computer" in text
        assert FAR in text
        assert "nowhere else" not in text


def test_other_device_sees_both_hops(core):
    text = privacy_of(core, FAR, host=ELSEWHERE)
    assert text.index(ELSEWHERE) < text.index(FAR)
    assert "this computer" not in text


def test_program_on_this_computer_is_named_as_such(core):
    for near in (NEAR, "http://localhost:9", "http://[::1]:9", "http://127.8.8.8"):
        text = privacy_of(core, near)
        assert f"another program on this computer: {near}" in text
        assert "leave" not in text
        assert "encrypted" not in text
    assert "other programs on this computer" in privacy_of(core, near, "http://localhost:1")


def test_names_that_resemble_loopback_are_remote(core):
    for far in ("http://127.0.0.1.example.org", "http://localhost.example.org", "http://0.0.0.0:9"):
        assert "leave this computer" in privacy_of(core, far)


def test_one_remote_server_of_several_is_enough_to_leave(core):
    assert "leave this computer" in privacy_of(core, NEAR, FAR)


def test_unencrypted_connection_is_mentioned(core):
    assert privacy_of(core, FAR).endswith("The connection is not encrypted.")
    assert privacy_of(core, FAR, OTHER).endswith("These connections are not encrypted.")
    assert privacy_of(core, FAR, ENCRYPTED).endswith("Some of these connections are not encrypted.")
    assert "encrypted" not in privacy_of(core, ENCRYPTED)


def test_at_most_three_servers_are_named(core):
    text = privacy_of(core, *(f"http://10.0.0.{n}:8000" for n in range(5)))
    assert "http://10.0.0.2:8000 and 2 more, where" in text
    assert "10.0.0.3" not in text


def test_badge_of_a_remote_model_names_no_device(core):
    core.live(status=STATUS | remote(upstream(FAR)))
    assert core.run("return M.serverSummary(arg);", core.state) == {"tone": "good", "text": TITLE}


def test_all_upstreams_down_is_a_problem_with_reasons(core):
    core.live(status=STATUS | remote(upstream(FAR, UNREACHABLE), upstream(OTHER, "is busy.")))
    notice = core.notice()
    assert (notice["id"], notice["tone"]) == ("upstreams-down", "problem")
    assert f"{FAR} {UNREACHABLE}" in notice["text"]
    assert f"{OTHER} is busy." in notice["text"]
    assert notice["actions"]
    assert core.run("return M.serverSummary(arg);", core.state)["tone"] == "problem"


def test_one_working_upstream_needs_no_notice(core):
    core.live(status=STATUS | remote(upstream(FAR, UNREACHABLE), upstream(OTHER)))
    assert core.notice() is None
    upstreams = core.run("return M.upstreamsOf(arg);", core.state)
    assert [each["tone"] for each in upstreams] == ["problem", "good"]
    assert upstreams[0]["facts"] == "Cannot be reached: nothing listens there."


def test_reason_of_waiting_is_shown_before_and_after_start(core):
    waiting = LOADING | remote(upstream(FAR, UNREACHABLE)) | {"progress": f"Waiting for {FAR}"}
    core.live(status=waiting)
    assert core.notice()["text"].startswith(f"Waiting for {FAR}. Captions start")
    welcome = core.run("return M.welcomeOf(arg, 'localhost');", core.state)
    assert welcome["loading"].startswith(f"Waiting for {FAR}. You can start")


def test_failed_upstream_request_shows_its_message(core):
    core.live().dispatch("capture-started")
    core.dispatch("request-failed", kind="upstream", message=f"{FAR} fell silent.")
    notice = core.notice(1)
    assert notice["title"].endswith("sent no caption")
    assert notice["text"] == f"{FAR} fell silent."
