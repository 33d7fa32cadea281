"""The command line of the evaluations: `python -m tools.evals NAME [OPTIONS]`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence

from vlm.errors import SightlineError

NAMES = ("real", "changed", "tokens", "truth", "calibrate", "memory")
_USAGE = f"usage: python -m tools.evals {{{','.join(NAMES)}}} [-h] [OPTIONS]"


def main(argv: Sequence[str]) -> int:
    """Run one evaluation; return 0, 1 (failed) or 2 (no such evaluation)."""
    logging.basicConfig(format="%(message)s")
    if not argv or argv[0] not in NAMES:
        print(_USAGE, file=sys.stderr)
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    # Imported here: other evaluations need not be importable.
    if argv[0] == "changed":
        from tools.evals.changed.command import run
    elif argv[0] == "tokens":
        from tools.evals.tokens.command import run
    elif argv[0] == "truth":
        from tools.evals.truth.command import run
    elif argv[0] == "memory":
        from tools.evals.memory.command import run
    elif argv[0] == "calibrate":
        from tools.evals.truth.calibrate import run
    else:
        from tools.evals.real.command import run
    try:
        return run(argv[1:])
    except (SightlineError, OSError) as error:
        print(f"evals: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
