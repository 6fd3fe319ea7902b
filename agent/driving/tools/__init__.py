"""The tools with which a model drives: one file each, thin over the room `tools`."""
