"""Which files judge a change, and proof that they stayed as they were."""

from forklock.tools.frozen.find import frozen_of
from forklock.tools.frozen.frozen import Frozen, Judge
from forklock.tools.frozen.seal import Entry, Sealer, broken_in_use, broken_seals

__all__ = ["Entry", "Frozen", "Judge", "Sealer", "broken_in_use", "broken_seals", "frozen_of"]
