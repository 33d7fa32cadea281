"""The texts about models: sizes, the card of a change, and the list in the settings."""

from __future__ import annotations

from model_states import LARGE, NANO, SMALL, fetching, loading, models, problem
from state_core import STATUS


def show(core, model=NANO, **fields):
    return core.live(status={**STATUS, "model": model, "models": models(model, **fields)})


def entry(core, name):
    models = core.run("return M.modelListOf(arg);", core.state)
    return next(one for one in models if one["name"] == name)


def hint(core):
    return core.run("return M.pickerHint(arg);", core.state)


# -- amounts --


def test_sizes_have_decimal_units(core):
    table = {
        0: "0 kB",
        40_000: "40 kB",
        513_000: "0.5 MB",
        9_400_000: "9.4 MB",
        9_990_000: "10 MB",
        513_400_000: "513 MB",
        999_600_000: "1.0 GB",
        4_490_000_000: "4.5 GB",
    }
    assert core.run("return arg.map(M.formatBytes);", list(table)) == list(table.values())


def test_duration_is_rounded_up(core):
    table = {0: "0 s", 47.6: "48 s", 59.2: "1 min", 121: "3 min", 3_540.5: "1 h 0 min"}
    assert core.run("return arg.map(M.formatDuration);", list(table)) == list(table.values())


def test_download_omits_unknown_figures(core):
    table = [
        (fetching(), "120 of 513 MB, 8.2 MB/s, 48 s left"),
        (fetching(left_s=None), "120 of 513 MB, 8.2 MB/s"),
        (fetching(left_s=None, bytes_per_s=0.0), "120 of 513 MB"),
        (fetching(0, total_bytes=0), "Checking the size"),
        (fetching(total_bytes=4_490_000_000), "0.1 of 4.5 GB, 8.2 MB/s, 48 s left"),
    ]
    changes, texts = zip(*table, strict=True)
    assert core.run("return arg.map(M.formatDownload);", changes) == list(texts)


# -- the card --


def test_no_change_shows_no_card(core):
    assert core.card() is None
    assert show(core).card() is None


def test_download_shows_a_bar_and_can_be_cancelled(core):
    card = show(core, change=fetching()).card()
    assert card["title"] == "Downloading SmolVLM 256M"
    assert card["bar"] == {"value": 120_000_000, "max": 513_000_000}
    assert [one["label"] for one in card["actions"]] == ["Cancel"]


def test_download_of_unknown_size_has_an_indeterminate_bar(core):
    change = fetching(0, total_bytes=0, left_s=None)
    assert show(core, change=change).card()["bar"] == {"value": 0, "max": 0}


def test_loading_shows_its_detail(core):
    card = show(core, change=loading(detail="Converting it, once: text model")).card()
    assert card["title"] == "Loading SmolVLM 256M"
    assert card["text"] == "Converting it, once: text model"


def test_change_can_be_cancelled_once(core):
    for change in (fetching(cancelling=True), loading(cancelling=True)):
        action = show(core, change=change).card()["actions"][0]
        assert action["label"] == "Cancelling"
        assert action["disabled"]


def test_every_problem_has_a_title_a_reason_and_actions(core):
    titles = {
        "fetch_failed": "SmolVLM 256M: download failed",
        "disk_full": "Not enough disk space for SmolVLM 256M",
        "model_too_large": "SmolVLM 256M is too large for this machine",
        "bad_checkpoint": "SmolVLM 256M: loading failed",
    }
    for code, title in titles.items():
        card = show(core, problem=problem(code=code)).card()
        assert card["tone"] == "problem"
        assert card["title"] == title
        assert card["text"].startswith(problem()["message"])
        assert card["text"].endswith("Captions continue with nano.")
        retry, dismiss = card["actions"]
        assert (retry["label"], retry["type"], retry["model"]) == (
            "Try again",
            "model-chosen",
            SMALL,
        )
        assert dismiss["label"] == "Dismiss"


def test_refusal_shows_the_servers_message(core):
    show(core).dispatch("model-chosen", model=LARGE)
    core.dispatch("model-request-failed", kind="refused", message="It needs 6.1 GB.")
    assert core.card()["title"].startswith("SmolVLM 2.2B")
    assert core.card()["text"] == "It needs 6.1 GB."
    core.dispatch("status-received", status={**STATUS, "models": models(change=fetching())})
    assert core.card()["id"] == "fetching"
    assert core.card()["text"].endswith("It needs 6.1 GB.")


def test_unreachable_server_shows_no_card(core):
    show(core, change=fetching()).dispatch("status-failed", message="down")
    assert core.card() is None


def test_badge_names_the_running_model_until_the_swap(core):
    line = "return M.serverSummary(arg).text;"
    assert core.run(line, show(core, change=loading()).state) == "nano on CPU"
    assert core.run(line, show(core, SMALL).state) == "SmolVLM 256M on CPU"
    folder = {**STATUS, "model": "/models/mine/"}
    assert core.run(line, core.live(status=folder).state) == "mine on CPU"
    unsettled = {**STATUS, "state": "loading", "model": None}
    assert core.run(line, core.live(status=unsettled).state) == "Loading model"


def test_failed_model_offers_the_others(core):
    core.live(status={**STATUS, "state": "failed"})
    assert [one["label"] for one in core.notice()["actions"]] == ["Try now", "Choose a model"]


# -- screen readers --


def test_change_is_announced_at_its_start_each_quarter_and_its_end(core):
    steps = [
        *({"change": fetching(received)} for received in range(0, 513_000_001, 51_300_000)),
        *({"change": loading(detail=f"Converting {percent} %")} for percent in (10, 20)),
        {"model": SMALL},
    ]
    states = [show(core, **step).state for step in steps]
    body = """
      const texts = arg.map((state) => M.changeAnnouncement(state, 0));
      texts.push(M.changeAnnouncement(arg.at(-1), 60000));
      return texts.filter((text, index) => text !== texts[index - 1]);
    """
    assert core.run(body, states) == [
        "Downloading SmolVLM 256M.",
        "Downloading SmolVLM 256M: 25 % done.",
        "Downloading SmolVLM 256M: 50 % done.",
        "Downloading SmolVLM 256M: 75 % done.",
        "Loading SmolVLM 256M.",
        "SmolVLM 256M is captioning now.",
        "",
    ]


def test_problem_is_announced_with_its_reason(core):
    show(core, problem=problem())
    news = core.run("return M.changeAnnouncement(arg, 0);", core.state)
    assert "download failed" in news
    assert problem()["message"] in news


# -- the list --


def test_running_model_has_no_action(core):
    show(core)
    assert entry(core, NANO)["status"] == "running"
    assert entry(core, NANO)["action"] is None


def test_installed_model_is_used_and_another_downloaded(core):
    show(core)
    installed = entry(core, "smolvlm2-256m-video")
    assert (installed["action"]["label"], installed["facts"]) == (
        "Use",
        "Installed, needs 1.2 GB of memory",
    )
    other = entry(core, SMALL)
    assert other["action"]["label"] == "Download"
    assert other["facts"] == "513 MB download, needs 1.2 GB of memory"


def test_partial_download_is_shown(core):
    changed = models()
    changed["choices"][1]["received_bytes"] = 120_000_000
    core.live(status={**STATUS, "models": changed})
    assert entry(core, SMALL)["action"]["label"] == "Download"
    assert entry(core, SMALL)["facts"].startswith("120 of 513 MB downloaded")


def test_model_of_unknown_size_has_no_numbers(core):
    changed = models()
    changed["choices"][1] |= {"download_bytes": 0, "memory_bytes": None}
    core.live(status={**STATUS, "models": changed})
    assert entry(core, SMALL)["action"]["label"] == "Download"
    assert entry(core, SMALL)["facts"] == "not downloaded yet"


def test_too_large_model_has_a_reason_and_no_action(core):
    show(core)
    assert entry(core, LARGE)["action"] is None
    assert entry(core, LARGE)["facts"].endswith("it needs 6.1 GB of memory, more than is free.")


def test_offline_offers_only_installed_models(core):
    show(core, offline=True)
    listed = core.run("return M.modelListOf(arg).map(({ name }) => name);", core.state)
    assert listed == ["nano", "smolvlm2-256m-video"]
    assert entry(core, "smolvlm2-256m-video")["action"]["label"] == "Use"
    assert "--offline" in hint(core)
    assert "(2 more)" in hint(core)


def test_one_model_changes_at_a_time(core):
    show(core, change=fetching())
    assert entry(core, SMALL)["action"] == {
        "type": "change-cancelled",
        "label": "Cancel",
        "disabled": False,
    }
    assert entry(core, SMALL)["facts"] == "120 of 513 MB, 8.2 MB/s, 48 s left"
    assert entry(core, "smolvlm2-256m-video")["action"]["disabled"]
    assert "Only one model can change at a time" in hint(core)


def test_list_shows_the_reason_of_a_failure(core):
    show(core, problem=problem())
    assert problem()["message"] in hint(core)
    core.dispatch("model-chosen", model=SMALL)
    core.dispatch("model-request-failed", kind="refused", message="It needs 6.1 GB.")
    assert "It needs 6.1 GB." in hint(core)


def test_strangers_see_the_list_without_buttons_and_why(core):
    core.live(status={**STATUS, "models": models(change=fetching()), "can_change_models": False})
    shown = core.run("return M.modelListOf(arg)", core.state)
    assert [each["action"] for each in shown] == [None] * len(models()["choices"])
    assert "Only the machine that runs Sightline can change the model" in hint(core)
    assert core.run("return M.changeCardOf(arg, 0)", core.state)["actions"] == []
