"""Reads what a repository holds without trusting it; `run` is the only module that runs git on the host."""
