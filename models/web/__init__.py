"""The one place that makes HTTP clients: deadlines, sizes, proxies, and which server a request goes to."""
