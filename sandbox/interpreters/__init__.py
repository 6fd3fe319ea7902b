"""Which interpreter and compilers a repository's commands get, and what of the host a sandbox may read for them."""
