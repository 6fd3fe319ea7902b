"""The event log of a run: append-only JSON lines, flushed per event, readable after kill -9.

(contract; being written)
"""
