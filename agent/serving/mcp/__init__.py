"""The deterministic tools, served to other agents over the Model Context Protocol.

`workbench` opens language servers and sandboxes on demand. `reading`, `writing` and `testing` are the tools, and know
nothing of the protocol. `server` registers them with the official SDK (the `mcp` distribution, which this package does
not shadow, since imports are absolute) and serves standard input and output.
"""
