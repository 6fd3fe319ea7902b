"""Chooses interpreters and compilers for a repository's commands, and what of the host a sandbox may read for them."""
