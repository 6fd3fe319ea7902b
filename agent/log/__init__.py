"""A run's events: the log, redaction, recorded answers, and the views that are derived from it."""
