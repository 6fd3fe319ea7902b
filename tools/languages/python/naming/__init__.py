"""What a change of names does to Python: where a name is written, scopes, families of classes."""
