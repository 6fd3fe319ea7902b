"""One file for each language server, and the table that lists them."""
