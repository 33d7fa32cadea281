"""`python -m tools.nano.train`: train the bundled model, on a CUDA GPU if there is one.

Two stages. First the encoder learns the patch labels; then encoder and decoder learn the answers
too. The learning rate is constant until the last part of the run, where it falls to zero.

If the run is stopped or killed, the same command resumes it from its last saved state. It keeps its
plan except for the flags that are given again: more --images extend a finished run, fewer let the
rate fall sooner.
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import IO, Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm
from transformers import Idefics3ForConditionalGeneration, Idefics3Processor

from tools.nano.architecture import (
    build_model,
    build_processor,
    train_tokenizer,
    use_matmul_attention,
)
from tools.nano.batches import Batch, FrameBatches
from tools.nano.objective import Losses, PatchHeads
from tools.nano.questions import corpus
from tools.nano.trainer import Plan, Trainer, read_state, resumed_plan
from tools.nano.truth import FRAME_SIDE_PX, PATCH_PX, PIXEL_SHUFFLE
from tools.reference import load_processor
from vlm.checkpoints.catalogue import BUNDLED_FOLDER
from vlm.checkpoints.files import check_folder
from vlm.errors import CheckpointError, SightlineError
from vlm.runtimes.torch.eager import load_model

STOPPED_EXIT_CODE = 130


def export(
    model: Idefics3ForConditionalGeneration, processor: Idefics3Processor, folder: Path
) -> None:
    """Write the bfloat16 checkpoint in transformers' own files."""
    with torch.no_grad():
        weights = {name: weight.to(torch.bfloat16) for name, weight in model.state_dict().items()}
    halved = Idefics3ForConditionalGeneration._from_config(model.config, dtype=torch.bfloat16)
    halved.load_state_dict(weights)
    halved.generation_config.eos_token_id = model.config.eos_token_id
    halved.save_pretrained(folder)
    # transformers would store how the tokenizer was loaded.
    for name in ("is_local", "local_files_only"):
        processor.tokenizer.init_kwargs.pop(name, None)
    processor.save_pretrained(folder)


def _batches(dataset: FrameBatches, first: int, last: int, workers: int) -> Iterator[Batch]:
    loader = DataLoader(
        dataset,
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        prefetch_factor=4 if workers else None,
    )
    yield from loader


def _initial_model(init: Path) -> Idefics3ForConditionalGeneration:
    """Return the float32 model of `init`; raise CheckpointError if its frames have another form."""
    model = load_model(init, torch.float32, "cpu")
    vision = model.config.vision_config
    shape = (vision.image_size, vision.patch_size, model.config.scale_factor)
    expected = (FRAME_SIDE_PX, PATCH_PX, PIXEL_SHUFFLE)
    if shape != expected:
        raise CheckpointError(
            f"{init / 'config.json'} has another architecture: frame side, patch and pixel "
            f"shuffle are {shape} instead of {expected}."
        )
    return model


def _processor(work: Path, init: Path | None, is_new: bool) -> Idefics3Processor:
    """Return the processor of the run in `work`; a new run copies that of `init` or makes one."""
    if is_new:
        made = load_processor(init) if init else build_processor(train_tokenizer(corpus()))
        made.save_pretrained(work)
    return load_processor(work)


def _start(arguments: argparse.Namespace, overrides: dict[str, Any]) -> tuple[Trainer, Any]:
    """Return trainer and processor of the run whose state is in --work, or of a new run."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    state = read_state(arguments.work, device)
    plan = Plan(**overrides) if state is None else resumed_plan(state, overrides)
    if arguments.init:
        check_folder(arguments.init)
    processor = _processor(arguments.work, arguments.init, is_new=state is None)
    torch.manual_seed(plan.seed)
    model = _initial_model(arguments.init) if arguments.init else build_model(processor.tokenizer)
    if device.type == "cpu":
        use_matmul_attention(model)
    heads = PatchHeads(model.config.vision_config.hidden_size)
    trainer = Trainer(plan, model, heads, device)
    if state is not None:
        trainer.load_state(state)
    return trainer, processor


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.nano.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, default=BUNDLED_FOLDER, help="folder of the finished checkpoint"
    )
    parser.add_argument(
        "--work", type=Path, default=Path("runs/nano"), help="folder of the run's state"
    )
    parser.add_argument(
        "--init",
        type=Path,
        help="start a new run from this checkpoint's weights and tokenizer; its encoder is already "
        "trained, so --encoder-images 0 may be enough",
    )
    parser.add_argument(
        "--save-every-s", type=float, default=180, help="seconds between saved states"
    )
    parser.add_argument("--workers", type=int, default=1, help="processes that draw frames")
    parser.add_argument(
        "--threads", type=int, default=0, help="threads of the forward pass, 0: all cores"
    )
    parser.add_argument(
        "--no-evaluation", action="store_true", help="skip the evaluation at the end"
    )
    plan = parser.add_argument_group("the plan, which a resumed run keeps")
    for name, value in asdict(Plan()).items():
        plan.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(value),
            default=argparse.SUPPRESS,
            help=f"default {value}",
        )
    return parser


@contextmanager
def _claimed(work: Path) -> Iterator[None]:
    """Lock `work` for one run; raise SightlineError if another run has it."""
    work.mkdir(parents=True, exist_ok=True)
    with (work / "lock").open("w") as lock:
        if not _lock(lock):
            raise SightlineError(f"another run is using {work}; choose another --work folder")
        yield


def _lock(file: IO[str]) -> bool:
    """Lock `file` until this process ends; return False if another process has the lock."""
    if sys.platform == "win32":
        return True
    import fcntl

    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _stop_on_signals() -> Iterator[threading.Event]:
    """Yield an event that Ctrl-C or SIGTERM sets, so that the current step is finished first.

    A second signal has its usual effect.
    """
    stop = threading.Event()
    earlier = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def request_stop(number: int, _: FrameType | None) -> None:
        stop.set()
        signal.signal(number, earlier[signal.Signals(number)])

    for number in earlier:
        signal.signal(number, request_stop)
    try:
        yield stop
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _shown(loss: float, parts: Losses) -> dict[str, str]:
    """Return the progress bar's figures of one step."""
    return {
        "loss": f"{loss:.3f}",
        "answers": f"{parts.answers.item():.3f}",
        "patches": f"{parts.patches.item():.3f}",
        "right": f"{parts.answer_accuracy:.3f}",
        "shapes": f"{parts.shape_accuracy:.2f}",
        "letters": f"{parts.letter_accuracy:.2f}",
    }


def train(arguments: argparse.Namespace, overrides: dict[str, Any]) -> int | None:
    """Run the plan to its end, from the last saved state if there is one, and export.

    `overrides` are the plan's values that were given as flags. Returns None, or the number of
    images seen if the run was stopped before its end; its state is saved in both cases.
    """
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    with _claimed(arguments.work):
        trainer, processor = _start(arguments, overrides)
        _run(trainer, processor, arguments)
        trainer.save_state(arguments.work)
        if trainer.seen + trainer.plan.batch <= trainer.plan.images:
            return trainer.seen
        export(trainer.model, processor, arguments.out)
    return None


def _run(trainer: Trainer, processor: Idefics3Processor, arguments: argparse.Namespace) -> None:
    """Train on the remaining batches, saving the state now and then, until the end or a signal."""
    plan = trainer.plan
    dataset = FrameBatches(
        processor, "train", plan.batch, plan.questions, plan.distinct, plan.first_frame
    )
    first, last = trainer.seen // plan.batch, plan.images // plan.batch
    saved_at = time.monotonic()
    bar = tqdm(
        total=last * plan.batch,
        initial=trainer.seen,
        unit="images",
        smoothing=0.02,
        dynamic_ncols=True,
    )
    with bar, _stop_on_signals() as stop:
        for batch in _batches(dataset, first, last, arguments.workers):
            bar.set_postfix(_shown(*trainer.step(batch)), refresh=False)
            bar.update(plan.batch)
            if stop.is_set():
                break
            if time.monotonic() - saved_at > arguments.save_every_s:
                trainer.save_state(arguments.work)
                saved_at = time.monotonic()


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line."""
    arguments = _parser().parse_args(argv)
    overrides = {name: value for name, value in vars(arguments).items() if name in asdict(Plan())}
    try:
        stopped_at = train(arguments, overrides)
    except SightlineError as error:
        raise SystemExit(f"train: {error}") from None
    except KeyboardInterrupt:
        print("\nStopped at once. The same command resumes from the last saved state.")
        raise SystemExit(STOPPED_EXIT_CODE) from None
    if stopped_at is not None:
        print(f"Stopped after {stopped_at:,} images. The same command resumes from there.")
        raise SystemExit(STOPPED_EXIT_CODE)
    if not arguments.no_evaluation:
        from tools.nano.evaluate import main as evaluate

        evaluate(["--checkpoint", str(arguments.out)])


if __name__ == "__main__":
    main()
