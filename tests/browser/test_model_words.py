"""What the page says of models: sizes, the change under way, and the list to choose from."""

from __future__ import annotations

import pytest
from state_core import STATUS
from told_models import LARGE, NANO, SMALL, fetching, loading, models, problem


def show(core, model=NANO, **what):
    return core.live(status={**STATUS, "model": model, "models": models(model, **what)})


def choice(core, name):
    choices = core.run("return M.choicesOf(arg);", core.state)
    return next(one for one in choices if one["name"] == name)


def hint(core):
    return core.run("return M.pickerHint(arg);", core.state)


# -- amounts --


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "0 kB"),
        (40_000, "40 kB"),
        (513_000, "0.5 MB"),
        (9_400_000, "9.4 MB"),
        (9_990_000, "10 MB"),
        (513_400_000, "513 MB"),
        (999_600_000, "1.0 GB"),
        (4_490_000_000, "4.5 GB"),
    ],
)
def test_sizes_are_told_in_decimal_units(core, count, words):
    assert core.run("return M.byteWords(arg);", count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (47.6, "48 s"), (59.2, "1 min"), (121, "3 min"), (3_540.5, "1 h 0 min")],
)
def test_waiting_time_is_rounded_up(core, seconds, words):
    assert core.run("return M.durationWords(arg);", seconds) == words


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ({}, "120 of 513 MB, 8.2 MB/s, 48 s left"),
        ({"left_s": None}, "120 of 513 MB, 8.2 MB/s"),
        ({"left_s": None, "bytes_per_s": 0.0}, "120 of 513 MB"),
        ({"received_bytes": 0, "total_bytes": 0}, "Asking how large it is"),
        ({"total_bytes": 4_490_000_000}, "0.1 of 4.5 GB, 8.2 MB/s, 48 s left"),
    ],
)
def test_a_fetch_tells_as_much_as_is_known(core, what, words):
    assert core.run("return M.fetchWords(arg);", fetching(**what)) == words


# -- the card --


def test_nothing_is_shown_while_nothing_changes(core):
    assert core.card() is None
    assert show(core).card() is None


def test_a_fetch_shows_a_bar_and_a_way_to_cancel(core):
    card = show(core, change=fetching()).card()
    assert card["title"] == "Fetching SmolVLM 256M"
    assert card["bar"] == {"value": 120_000_000, "max": 513_000_000}
    assert [one["label"] for one in card["actions"]] == ["Cancel"]


def test_a_fetch_of_unknown_size_has_a_bar_without_an_end(core):
    change = fetching(0, total_bytes=0, left_s=None)
    assert show(core, change=change).card()["bar"] == {"value": 0, "max": 0}


def test_loading_tells_what_it_is_at(core):
    card = show(core, change=loading(detail="Converting it, once: text model")).card()
    assert card["title"] == "Loading SmolVLM 256M"
    assert card["text"] == "Converting it, once: text model"


def test_a_change_that_is_being_cancelled_says_so_and_cannot_be_cancelled_again(core):
    for change in (fetching(cancelling=True), loading(cancelling=True)):
        action = show(core, change=change).card()["actions"][0]
        assert action["label"] == "Cancelling"
        assert action["waits"]


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("fetch_failed", "SmolVLM 256M was not fetched"),
        ("disk_full", "The disk has no room for SmolVLM 256M"),
        ("model_too_large", "SmolVLM 256M is too large for this machine"),
        ("bad_checkpoint", "SmolVLM 256M was not loaded"),
    ],
)
def test_every_problem_says_what_happened_what_goes_on_and_the_ways_on(core, code, title):
    card = show(core, problem=problem(code=code)).card()
    assert card["tone"] == "problem"
    assert card["title"] == title
    assert card["text"].startswith(problem()["message"])
    assert card["text"].endswith("nano goes on captioning.")
    again, dismiss = card["actions"]
    assert (again["label"], again["type"], again["model"]) == ("Try again", "model-chosen", SMALL)
    assert dismiss["label"] == "Dismiss"


def test_a_refusal_is_told_in_the_servers_words(core):
    show(core).tell("model-chosen", model=LARGE)
    core.tell("model-request-refused", id=1, kind="refused", message="It needs 6.1 GB.")
    assert core.card()["title"].startswith("SmolVLM 2.2B")
    assert core.card()["text"] == "It needs 6.1 GB."
    core.tell("status-answered", status={**STATUS, "models": models(change=fetching())})
    assert core.card()["id"] == "fetching"
    assert core.card()["text"].endswith("It needs 6.1 GB.")


def test_a_server_that_is_gone_leaves_nothing_to_say_of_its_models(core):
    show(core, change=fetching()).tell("status-missed", message="down")
    assert core.card() is None


def test_the_badge_names_what_captions_until_the_swap(core):
    line = "return M.serverLine(arg).text;"
    assert core.run(line, show(core, change=loading()).state) == "nano on CPU"
    assert core.run(line, show(core, SMALL).state) == "SmolVLM 256M on CPU"
    folder = {**STATUS, "model": "/models/mine/"}
    assert core.run(line, core.live(status=folder).state) == "mine on CPU"
    unsettled = {**STATUS, "state": "loading", "model": None}
    assert core.run(line, core.live(status=unsettled).state) == "Loading model"


def test_a_server_without_a_model_that_loads_offers_the_others(core):
    core.live(status={**STATUS, "state": "failed"})
    assert [one["label"] for one in core.notice()["actions"]] == ["Try now", "Choose a model"]


# -- what a screen reader hears --


def test_a_change_is_announced_at_its_beginning_each_quarter_and_its_end(core):
    heard = [""]

    def listen(at=0):
        news = core.run("return M.changeNews(...arg);", [core.state, at])
        if news != heard[-1]:
            heard.append(news)

    for received in range(0, 513_000_001, 51_300_000):
        show(core, change=fetching(received))
        listen()
    for detail in ("Converting 10 %", "Converting 20 %"):
        show(core, change=loading(detail=detail))
        listen()
    show(core, SMALL)
    listen()
    listen(60_000)
    assert heard[1:] == [
        "Fetching SmolVLM 256M.",
        "Fetching SmolVLM 256M: a quarter is here.",
        "Fetching SmolVLM 256M: half is here.",
        "Fetching SmolVLM 256M: three quarters are here.",
        "Loading SmolVLM 256M.",
        "SmolVLM 256M is captioning now.",
        "",
    ]


def test_a_problem_is_announced_with_its_reason(core):
    show(core, problem=problem())
    news = core.run("return M.changeNews(arg, 0);", core.state)
    assert "was not fetched" in news
    assert problem()["message"] in news


# -- the list --


def test_what_runs_is_not_offered(core):
    show(core)
    assert choice(core, NANO)["standing"] == "running"
    assert choice(core, NANO)["action"] is None


def test_what_is_here_is_used_and_what_is_not_is_fetched_at_a_told_size(core):
    show(core)
    here = choice(core, "smolvlm2-256m-video")
    assert (here["action"]["label"], here["facts"]) == ("Use", "Is here, needs 1.2 GB of memory")
    far = choice(core, SMALL)
    assert far["action"]["label"] == "Fetch 513 MB"
    assert far["facts"] == "513 MB to fetch, needs 1.2 GB of memory"


def test_what_was_fetched_in_part_is_told(core):
    told = models()
    told["choices"][1]["received_bytes"] = 120_000_000
    core.live(status={**STATUS, "models": told})
    assert choice(core, SMALL)["action"]["label"] == "Fetch 393 MB"
    assert choice(core, SMALL)["facts"].startswith("120 of 513 MB are here")


def test_a_model_of_which_nothing_is_known_is_told_without_numbers(core):
    told = models()
    told["choices"][1] |= {"download_bytes": 0, "memory_bytes": None}
    core.live(status={**STATUS, "models": told})
    assert choice(core, SMALL)["action"]["label"] == "Fetch"
    assert choice(core, SMALL)["facts"] == "to be fetched"


def test_a_model_that_does_not_fit_says_why_and_is_not_offered(core):
    show(core)
    assert choice(core, LARGE)["action"] is None
    assert choice(core, LARGE)["facts"].endswith("it needs 6.1 GB of memory, more than is free.")


def test_offline_offers_only_what_is_here(core):
    show(core, offline=True)
    assert choice(core, SMALL)["action"] is None
    assert "offline" in choice(core, SMALL)["facts"]
    assert choice(core, "smolvlm2-256m-video")["action"]["label"] == "Use"
    assert "--offline" in hint(core)


def test_one_model_changes_at_a_time_and_the_list_says_so(core):
    show(core, change=fetching())
    assert choice(core, SMALL)["action"] == {
        "type": "change-cancelled",
        "label": "Cancel",
        "waits": False,
    }
    assert choice(core, SMALL)["facts"] == "120 of 513 MB, 8.2 MB/s, 48 s left"
    assert choice(core, "smolvlm2-256m-video")["action"]["waits"]
    assert "One model changes at a time" in hint(core)


def test_what_went_wrong_is_told_where_a_model_was_chosen_too(core):
    show(core, problem=problem())
    assert problem()["message"] in hint(core)
    core.tell("model-chosen", model=SMALL)
    core.tell("model-request-refused", id=1, kind="refused", message="It needs 6.1 GB.")
    assert "It needs 6.1 GB." in hint(core)
