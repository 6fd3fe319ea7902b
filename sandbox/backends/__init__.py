"""Backends: ways to isolate a command. One file or folder each, and one list of them (`open.py`)."""
