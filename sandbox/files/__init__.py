"""Files that survive a kill (`atomic`, `jsonl`), and safe reading of what others wrote (`reading`)."""
