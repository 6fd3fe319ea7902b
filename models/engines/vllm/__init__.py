"""The engine on a vLLM server, the server's environment, and the plug-in that runs inside it."""
