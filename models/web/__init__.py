"""Makes all HTTP clients: deadlines, sizes, proxies, and the server that a request goes to."""
