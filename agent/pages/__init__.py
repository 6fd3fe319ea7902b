"""A run as an HTML page of its own: what is on it, and the template."""
