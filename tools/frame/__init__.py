"""The intellisense frame: what a developer's editor would show around a place."""
