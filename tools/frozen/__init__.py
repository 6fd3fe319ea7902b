"""Which files judge a change: what the check runs and reads, kept as it was."""
