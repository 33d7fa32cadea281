"""Count the bytes by which the small models have made a clone larger."""

from __future__ import annotations

import subprocess
from typing import Final

from tools.evals.figures import Figure
from tools.evals.photographs import ROOT

# The last commit before them.
_BEFORE: Final = "5dafc935d8dfd568db5874c60fb278e93c259503"


def clone_figures() -> list[Figure]:
    """Return the growth in MB: what git stores, compressed; not measured in a shallow clone."""
    note = f"MB, all commits since {_BEFORE[:7]}"
    arguments = ["rev-list", "--objects", "--disk-usage", f"{_BEFORE}..HEAD"]
    done = subprocess.run(
        ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False
    )
    grown = int(done.stdout) / 1e6 if done.returncode == 0 else None
    return [Figure("clone_mb", grown, most=20, note=note)]
