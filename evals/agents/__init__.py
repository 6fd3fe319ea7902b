"""Measures whole agents, on problem sets and on repo tasks."""
