"""The `agent sandbox` command, and what all commands share: how one is made, how it ends, and the extras it needs."""
