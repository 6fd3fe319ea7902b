"""Pulls, converts and checks the known models."""
