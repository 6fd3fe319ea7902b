"""The `tools` command: `main.py` asks about a repository, `run.py` runs its tests."""
