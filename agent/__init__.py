"""The loop: what the model sees, how its words become edits, limits, and the event log.

`events.py` (the log) is the only part that selfdistill reads.
"""
