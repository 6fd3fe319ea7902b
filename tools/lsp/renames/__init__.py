"""Renames and calls that say what they do not cover."""
