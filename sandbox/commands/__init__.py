"""The `agent sandbox` command, and the options that the commands of all rooms share."""
