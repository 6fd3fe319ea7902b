"""Programs in, verdicts out."""
