"""The study of decodings: a grid, its runs, and their report."""
