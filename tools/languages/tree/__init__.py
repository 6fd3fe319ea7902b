"""What all languages share that are read by a tree-sitter grammar: trees, definitions, statements, edits."""
