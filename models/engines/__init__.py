"""Engines: where answers come from. One wing each, one list of them (`open.py`), and what they share of prompts."""
