"""Programming languages as the tools see them: one `Language` with one file each, and one list of them (`known`).

`python/` reads Python by its own parser, `tree/` is the base of the languages that are read by tree-sitter grammars.
"""
