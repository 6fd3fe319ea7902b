"""The `agent` command: one file for each command, or group of commands that belong together."""
