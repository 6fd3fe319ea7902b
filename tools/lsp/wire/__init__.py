"""A language server's process and its protocol."""
