"""Renames, and lists of uses and calls, that say which places they do not cover."""
