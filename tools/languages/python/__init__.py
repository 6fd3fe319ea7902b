"""Python, by its own parser: the object that the tools ask, and what it is made of."""
