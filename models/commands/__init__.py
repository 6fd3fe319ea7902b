"""The commands `agent models` and `agent engines`."""
