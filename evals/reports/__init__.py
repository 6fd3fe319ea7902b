"""Shows results: on the terminal, as HTML pages and as plots."""
