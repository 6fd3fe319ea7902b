"""`agent models` and `agent engines`, and how the commands of all rooms above end."""
