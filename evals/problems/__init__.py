"""Problem sets: their records, where they are, and corrections of records that are wrong."""

from forklock.evals.problems.sets import load_set

__all__ = ["load_set"]
