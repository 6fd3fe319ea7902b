"""Runs one evaluation: asks the model, stores the answers, has them judged, counts."""

from forklock.evals.runs.run import EvalJob, run_eval

__all__ = ["EvalJob", "run_eval"]
