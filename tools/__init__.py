"""What can be done to a repo without a model: language servers, edits, symbols, search, checks, tests.

Deterministic. Runs commands only through `sandbox`. Knows nothing of models or prompts.
"""
