"""A repository's own tests: commands, runs and reports; `inside/` runs in the tested process."""
