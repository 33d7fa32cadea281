"""The command line of the benchmark."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace

from tools.bench.clients import measure_clients
from tools.bench.frames import open_clip
from tools.bench.live import LiveCaption, watch
from tools.bench.machine import bytes_read_per_token, memory_bandwidth
from tools.bench.measurements import Measured
from tools.bench.options import read_options
from tools.bench.over_http import measure_server
from tools.bench.report import Report, make_report, table
from tools.bench.scenarios import measure_rounds
from tools.bench.setup import Setup, prepared
from tools.bench.starts import measure_starts
from vlm.errors import BadRequestError, SettingsError, SightlineError
from vlm.models.loading import load_engine


def main(argv: Sequence[str]) -> int:
    """Measure, print a table and one line of JSON; return 0, 1 (failed) or 2 (bad options)."""
    logging.basicConfig(format="%(message)s")
    try:
        options = read_options(argv)
        with prepared(options, _say) as setup:
            if options.clients:
                report = _clients(setup)
            elif options.video is not None:
                report = _clip(setup, options.video)
            else:
                report = _captions(setup)
    except SightlineError as error:
        _say(f"bench: {error}")
        return 2 if isinstance(error, SettingsError | BadRequestError) else 1
    except OSError as error:
        # For example: the temporary folder is full, or a child process has died.
        _say(f"bench: {error}")
        return 1
    print(table(report))
    print(json.dumps(report, allow_nan=False))
    return 0


def _captions(setup: Setup) -> Report:
    measured = Measured()
    measure_starts(setup, measured)
    setup.say("Loading the model.")
    engine = load_engine(setup.settings, stop_token_ids=frozenset())
    measure_rounds(setup, engine, measured)
    if setup.options.http:
        measure_server(setup, engine, measured)
    if engine.info.device == "cpu":
        setup.say("Measuring the memory bandwidth.")
        measured.add("memory_gb_per_s", memory_bandwidth() / 1e9)
        read_bytes = bytes_read_per_token(setup.folder, engine.info.dtype)
        measured.add("text_weights_mb", read_bytes / 1e6)
    return make_report(setup, engine.info, setup.image.size, measured)


def _clip(setup: Setup, source: str) -> Report:
    options = setup.options
    clip = open_clip(source, options.fps)
    setup.say("Loading the model.")
    engine = load_engine(setup.settings)
    setup.say(f"Watching {len(clip)} frames, {options.fps:g} a second.")
    run = watch(engine, clip, options.fps, options.prompt, options.tokens, _say_caption)
    if damage := clip.damage():
        setup.say(damage)
    return make_report(setup, engine.info, clip.picture(0).size, Measured(), run.figures())


def _clients(setup: Setup) -> Report:
    info, frame_size_px, figures = measure_clients(setup)
    # A server that was running already may have another model than the options name.
    setup = replace(setup, options=replace(setup.options, model=info.model))
    return make_report(setup, info, frame_size_px, Measured(), clients=figures)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _say_caption(caption: LiveCaption) -> None:
    _say(f"{caption.captured_at_s:7.1f} s  {caption.caption.text}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
