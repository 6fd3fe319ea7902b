"""Arms: ways to make practice and to learn from it. One file an arm, one list of them (`known.py`)."""
