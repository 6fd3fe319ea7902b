"""A language server's process, and the protocol that is spoken with it."""
