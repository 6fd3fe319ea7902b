"""Prompts, samples and datasets of a round, and the arms that make them."""
