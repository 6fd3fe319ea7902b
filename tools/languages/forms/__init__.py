"""What a test file of a language looks like: how it is named, begun, split into single tests, and run."""
