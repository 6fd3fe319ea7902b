"""Repair tasks made from the user's own repository, and their judge."""
