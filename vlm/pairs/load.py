"""Load a dual encoder by its name."""

from __future__ import annotations

from vlm.checkpoints.hub_models import folder_of
from vlm.checkpoints.pairs import BUNDLED_PAIR, PAIR_NAMES, known_pair
from vlm.errors import SettingsError
from vlm.pairs.pair import Pair


def load_pair(name: str, *, offline: bool = False) -> Pair:
    """Return the dual encoder `name`, loaded, and downloaded before if it is not on this machine.

    Raise SettingsError for another name, OfflineError if `offline` forbids the download,
    FetchError, CheckpointError or OpenVinoUnavailableError.
    """
    # The packages that run one are imported with its module.
    if name == BUNDLED_PAIR:
        from vlm.pairs.nano_pair import NanoPair

        return NanoPair()
    known = known_pair(name)
    if known is None:
        raise SettingsError(f"There is no pair {name!r}. Choose {', '.join(PAIR_NAMES)}.")
    from vlm.pairs.transformers_pairs import TransformersPair

    return TransformersPair(name, folder_of(known, offline=offline))
