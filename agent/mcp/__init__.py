"""The deterministic tools, served to any other harness over the Model Context Protocol.

`workbench` holds what is opened on demand (language servers, sandboxes); `reading`, `writing` and `testing`
are the tools, free of the protocol; `server` registers them with the official SDK (the `mcp` distribution,
imported absolutely: this package does not shadow it) and serves standard input and output.
"""
