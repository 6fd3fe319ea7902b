"""The agent: what the model sees, how its answers become edits, limits, and the event log.

`forklock.agent.log` is the only part that `selfdistill` reads.
"""
