"""Edits of a definition in a Python text: which one is meant, what is put in its place, and what must stay."""
