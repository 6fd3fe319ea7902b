"""evals: changes of an agent to how tests are run are no part of its answer (`agent.trialguard` says which)."""

from __future__ import annotations

from agent.trialguard import RunnerRules, RunnerState, changes_of_the_runner

__all__ = ["RunnerRules", "RunnerState", "changes_of_the_runner"]
