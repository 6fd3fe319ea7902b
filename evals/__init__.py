"""Measured, not claimed: problem sets, generation, judging, statistics, reports (room `evals/`)."""
