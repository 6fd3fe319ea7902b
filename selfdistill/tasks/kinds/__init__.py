"""Kinds of bugs that tasks are made of. One file a kind, one list of them (`known.py`)."""
