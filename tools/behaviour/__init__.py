"""How code behaves on further inputs: what the tests call it with, and variants of that."""
