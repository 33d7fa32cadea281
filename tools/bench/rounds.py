"""Rounds of captions: each scenario once, then each of the other ways, over and over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.bench.scenarios import Scenarios
from tools.bench.setup import Measured, Setup
from vlm.engine.engine import Engine
from vlm.types import Stats

if TYPE_CHECKING:
    from tools.bench.references import Reference


def measure_rounds(setup: Setup, engine: Engine, measured: Measured) -> None:
    """Ours and theirs alternate, so that what else the machine does meets all of them alike.

    `engine` must not end answers by itself. Raises SightlineError.
    """
    options = setup.options
    scenarios = Scenarios(engine, setup.image, options.prompt, options.tokens)
    reference = None
    if options.against:
        setup.say("Loading the model for transformers.")
        reference = _reference(setup, engine)
        measured.reference_dtype = reference.dtype
    # The first round pays for what is only ever paid once.
    _round(setup, scenarios, reference, Measured())
    for number in range(options.repeats):
        setup.say(f"Round {number + 1} of {options.repeats}.")
        _round(setup, scenarios, reference, measured)


def _reference(setup: Setup, engine: Engine) -> Reference:
    # Imported here: whoever times ours alone needs neither torch nor the seconds it takes to load.
    from tools.bench.references import Reference

    return Reference(setup.folder, setup.options.against_dtype, engine.info.device)


def _round(
    setup: Setup, scenarios: Scenarios, reference: Reference | None, measured: Measured
) -> None:
    new = scenarios.new_scene()
    measured.add("ttft_s", new.ttft_s)
    measured.add("caption_s", new.total_s)
    measured.add("decode_ms", 1000 * (new.total_s - new.ttft_s) / (new.tokens - 1))
    for way in setup.options.against:
        if reference is not None:
            options = setup.options
            theirs = reference.caption(way, setup.image, options.prompt, options.tokens)
            measured.add("ttft_s", theirs.ttft_s, way)
            measured.add("caption_s", theirs.caption_s, way)
            measured.add("prompt_tokens", theirs.prompt_tokens, way)
    moving = scenarios.moving_scene()
    measured.add("moving_caption_s", moving.total_s)
    measured.add("moving_accepted_share", _accepted_share(moving))
    steady = scenarios.steady_scene()
    measured.add("steady_ttft_s", steady.ttft_s)
    measured.add("steady_caption_s", steady.total_s)
    measured.add("steady_accepted_share", _accepted_share(steady))
    second = scenarios.second_question()
    measured.add("second_ttft_s", second.ttft_s)
    measured.add("prompt_tokens", new.prompt_tokens)
    if scenarios.shares_passes:
        measured.add("together_ratio", scenarios.together())


def _accepted_share(stats: Stats) -> float | None:
    """Accepted over drafted tokens; None where nothing was drafted."""
    return stats.accepted / stats.drafted if stats.drafted else None
