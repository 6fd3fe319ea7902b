"""The engine that runs a vLLM server of its own, and the plug-in that runs inside that server."""
