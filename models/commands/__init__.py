"""The commands `agent models` and `agent engines`, one file each."""
