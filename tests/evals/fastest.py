"""The sandbox of tests that are not about sandboxes."""

from __future__ import annotations

from forklock.sandbox import BackendName
from forklock.sandbox.backends.bubblewrap import backend as bubblewrap

FASTEST: BackendName = "auto" if bubblewrap.why_not() else "bubblewrap"
"""bubblewrap where it works: it starts three times as fast as a container. `auto` and docker have their own tests."""
