"""What a repository holds, found without a language server: files, map, search."""
