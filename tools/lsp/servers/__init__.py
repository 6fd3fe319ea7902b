"""One file for each language server, and the list of them."""
