"""Reads the commits of a repository, and what differs from them, by a git that runs in a sandbox."""

from forklock.sandbox.history.changed import changed_files
from forklock.sandbox.history.history import History, open_history

__all__ = ["History", "changed_files", "open_history"]
