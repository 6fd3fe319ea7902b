"""Forklock: a coding-agent harness for local models.

Each room is a folder at the top of the repository, and a link to it lies here: `agent/` is imported as
`forklock.agent`. docs/decisions/0013-one-import-name.md says why.
"""
