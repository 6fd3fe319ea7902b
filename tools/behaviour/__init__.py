"""How code behaves on the inputs of its tests, and on variants of them."""
