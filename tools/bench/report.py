"""The report of a run: one object of figures for programs, and a table of them for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Final

from tools.bench.machine import describe_machine
from tools.bench.measurements import Measured, Samples, spread
from tools.bench.setup import Setup
from vlm.results import EngineInfo

Report = dict[str, Any]

# Key in the JSON, label and decimals in the table.
SAMPLED: Final = (
    ("ttft_s", "time to first token, s", 3),
    ("decode_ms", "decode, ms a token", 2),
    ("caption_s", "whole caption, s", 3),
    ("moving_caption_s", "moving scene: whole caption, s", 3),
    ("moving_accepted_share", "moving scene: share of drafts accepted", 2),
    ("steady_caption_s", "steady scene: whole caption, s", 3),
    ("steady_accepted_share", "steady scene: share of drafts accepted", 2),
    ("second_ttft_s", "second question: time to first token, s", 3),
    ("high_ttft_s", "detail high, all tiles new: first token, s", 3),
    ("high_caption_s", "detail high, all tiles new: caption, s", 3),
    ("high_one_tile_ttft_s", "detail high, one tile changed: first token, s", 3),
    ("high_one_tile_caption_s", "detail high, one tile changed: caption, s", 3),
    ("labels_ratio", "50 labels of a captioned frame, to a prefill", 2),
    ("looks_ratio", "a caption with what its words looked at, to one without", 2),
    ("together_ratio", "captions a second, sharing passes to not", 2),
    ("load_cold_s", "start to ready, empty cache, s", 2),
    ("load_cached_s", "start to ready, cached, s", 2),
    ("peak_rss_mb", "peak memory, MB", 0),
    ("http_ttft_ms", "server beside engine: first word, ms", 1),
    ("http_token_ms", "server beside engine: each token, ms", 2),
    ("memory_gb_per_s", "memory is read at, GB/s", 1),
    ("text_weights_mb", "text weights read for a token, MB", 1),
)
DERIVED: Final = (
    ("steady_extra_ms", "steady caption beyond a first token, ms", 1),
    ("second_ttft_ratio", "second question's first token to a new one's", 3),
    ("decode_limit_ms", "decode at the rate of memory, ms a token", 2),
    ("decode_limit_share", "share of that limit reached", 2),
)
CLIP: Final = (
    ("clip_s", "length of the clip, s", 1),
    ("frames", "frames in it", 0),
    ("looks", "frames looked at", 0),
    ("skipped", "of these skipped by the gate", 0),
    ("captions", "captions", 0),
    ("captions_per_min", "captions a minute", 1),
    ("first_word_p50_s", "first word, p50, s", 3),
    ("first_word_p95_s", "first word, p95, s", 3),
    ("accepted_share", "share of drafted tokens accepted", 2),
)
CLIENTS: Final = (
    ("clients", "cameras", 0),
    ("seconds", "for, s", 1),
    ("captions", "captions", 0),
    ("captions_per_s", "captions a second", 1),
    ("first_word_p50_s", "first word, p50, s", 3),
    ("first_word_p95_s", "first word, p95, s", 3),
    ("caption_p50_s", "whole caption, p50, s", 3),
    ("alone_first_word_p50_s", "one camera alone: first word, p50, s", 3),
    ("first_word_over_alone", "first word to one camera's alone", 2),
    ("least_over_mean", "least served camera to the mean", 2),
    ("least_over_most", "least served camera to the most served", 2),
    ("refused", "refused", 0),
    ("superseded", "superseded", 0),
    ("failed", "errors", 0),
    ("unanswered", "unanswered", 0),
    ("rss_first_mb", "server's memory at first, MB", 1),
    ("rss_last_mb", "server's memory at last, MB", 1),
    ("rss_last_over_first", "server's memory, last to first", 3),
)
COMPARED: Final = ("ttft_s", "caption_s")
# Keys of `measured` with the names of `COMPARED`.
_OF_HIGH: Final = ("high_one_tile", "high")
_LABEL_WIDTH: Final = 46


def make_report(
    setup: Setup,
    info: EngineInfo,
    frame_size_px: tuple[int, int],
    measured: Measured,
    clip: dict[str, float | None] | None = None,
    clients: dict[str, Any] | None = None,
) -> Report:
    """Return all figures by their keys, medians of several samples; None if not measured."""
    medians = {
        key: median(measured.samples[key]) if key in measured.samples else None
        for key, *_ in SAMPLED
    }
    changed = {share: _medians(samples) for share, samples in measured.changed.items()}
    sides = {detail: _medians(samples) for detail, samples in measured.sides.items()}
    return {
        "model": setup.options.model,
        "runtime": info.runtime,
        "device": info.device,
        "dtype": info.dtype,
        "frame_px": list(frame_size_px),
        "prompt": setup.options.prompt,
        "tokens": setup.options.tokens,
        "repeats": setup.options.repeats,
        **medians,
        **_derived(medians),
        "changed": changed,
        "sides": sides,
        "ratio": {
            way: {key: median(measured.samples[key]) / median(theirs[key]) for key in COMPARED}
            for way, theirs in measured.references.items()
        }
        | _changed_ratios(changed, medians, measured)
        | _side_ratios(sides)
        | _high_ratio(medians),
        "against": {
            way: {"dtype": measured.reference_dtypes[way]}
            | {key: median(values) for key, values in theirs.items()}
            for way, theirs in measured.references.items()
        },
        "spread": {key: spread(values) for key, values in measured.samples.items()}
        | {
            f"{way} {key}": spread(theirs[key])
            for way, theirs in measured.references.items()
            for key in COMPARED
        },
        "video": clip,
        "clients": clients,
        "machine": describe_machine(),
    }


def table(report: Report) -> str:
    """Return the report as text for people."""
    lines = _head(report)
    if report["clients"] is not None:
        lines += [_row(label, [report["clients"][key]], digits) for key, label, digits in CLIENTS]
        return "\n".join(lines)
    if report["video"] is not None:
        lines += [_row(label, [report["video"][key]], digits) for key, label, digits in CLIP]
        return "\n".join(lines)
    lines.append(f"{'':<{_LABEL_WIDTH}}{'median':>10}{'min':>10}{'max':>10}")
    for key, label, digits in SAMPLED:
        spreads = report["spread"].get(key) or {}
        values = [spreads.get(name) for name in ("median", "min", "max")]
        lines.append(_row(label, values if values[1] != values[2] else values[:1], digits))
    lines += [_row(label, [report[key]], digits) for key, label, digits in DERIVED]
    for share, ours in report["changed"].items():
        lines.append(f"still camera, {float(share):.0%} changed: {ours['patches']:.0f} patches")
        for key, label, digits in SAMPLED:
            if key in COMPARED:
                lines.append(_row(f"  {label}", [ours[key]], digits))
                ratio = report["ratio"][f"changed_{share}_to_whole"][key]
                lines.append(_row("  over a whole frame's", [ratio], 3))
    for detail, ours in report["sides"].items():
        lines.append(f"detail {detail}: {ours['image_tokens']:.0f} image tokens")
        for key, label, digits in SAMPLED:
            if key in COMPARED:
                lines.append(_row(f"  {label}", [ours[key]], digits))
    for way, theirs in report["against"].items():
        lines.append(f"{way}, {theirs['dtype']}, {theirs['prompt_tokens']:.0f} prompt tokens")
        for key, label, digits in SAMPLED:
            if key in COMPARED:
                spreads = report["spread"][f"{way} {key}"]
                values = [spreads[name] for name in ("median", "min", "max")]
                lines.append(_row(f"  {label}", values, digits))
                lines.append(_row("  ours over theirs", [report["ratio"][way][key]], 3))
    return "\n".join(lines)


def _medians(samples: Samples) -> dict[str, float]:
    """Return the medians of one scenario, by the names of the report."""
    names = {"total_s": "caption_s"}
    return {names.get(key, key): median(values) for key, values in samples.items()}


def _side_ratios(sides: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the times of smaller tiles over those of detail "low"."""
    return {
        f"{detail}_to_low": {key: ours[key] / sides["low"][key] for key in COMPARED}
        for detail, ours in sides.items()
        if detail != "low"
    }


def _high_ratio(medians: Mapping[str, float | None]) -> dict[str, dict[str, float]]:
    """Return the times of one changed tile over those of all; nothing without tiles."""
    pairs = {key: [medians[f"{name}_{key}"] for name in _OF_HIGH] for key in COMPARED}
    ratio = {key: one / every for key, (one, every) in pairs.items() if one and every}
    return {"high_one_tile_to_all": ratio} if ratio else {}


def _changed_ratios(
    changed: Mapping[str, Mapping[str, float]],
    whole: Mapping[str, float | None],
    measured: Measured,
) -> dict[str, dict[str, float]]:
    """Return our times of frames that changed in part over those of whole ones, by their names."""
    others: dict[str, Mapping[str, float | None]] = {"whole": whole}
    for way, theirs in measured.references.items():
        others[way] = {key: median(theirs[key]) for key in COMPARED}
    return {
        f"changed_{share}_to_{name}": {
            key: ours[key] / other for key in COMPARED if (other := times[key])
        }
        for share, ours in changed.items()
        for name, times in others.items()
    }


def _derived(medians: dict[str, float | None]) -> dict[str, float | None]:
    def of(one: str, other: str, combine: Callable[[float, float], float]) -> float | None:
        first, second = medians[one], medians[other]
        return None if first is None or second is None else combine(first, second)

    limit_ms = of("text_weights_mb", "memory_gb_per_s", lambda mb, gb_per_s: mb / gb_per_s)
    decode_ms = medians["decode_ms"]
    return {
        "steady_extra_ms": of("steady_caption_s", "ttft_s", lambda all_s, s: 1000 * (all_s - s)),
        "second_ttft_ratio": of("second_ttft_s", "ttft_s", lambda second_s, s: second_s / s),
        "decode_limit_ms": limit_ms,
        "decode_limit_share": limit_ms / decode_ms if limit_ms and decode_ms else None,
    }


def _head(report: Report) -> list[str]:
    machine = report["machine"]
    versions = [f"{name} {version}" for name, version in machine["versions"].items() if version]
    width, height = report["frame_px"]
    made = f"{report['runtime']}, {report['device']}, {report['dtype']}"
    if report["video"] is None and report["clients"] is None:
        length = f"{report['tokens']} tokens, {report['repeats']} rounds"
    else:
        length = f"at most {report['tokens']} tokens"
    return [
        f"model    {report['model']} ({made})",
        f"frame    {width} x {height} px, {length}",
        f"machine  {machine['cpu']}, {machine['cores']} cores, {machine['system']}",
        f"with     {', '.join(versions)}",
        "",
    ]


def _row(label: str, values: list[float | None], digits: int) -> str:
    shown = "".join(f"{'-' if value is None else f'{value:.{digits}f}':>10}" for value in values)
    return f"{label:<{_LABEL_WIDTH}}{shown}"
