"""Files that survive a kill: whole or unchanged (`atomic`), or readable up to the last whole line (`jsonl`)."""
