"""Asks one question of every server that can answer it, and turns what they say into our own types."""
