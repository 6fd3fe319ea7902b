"""The engine for providers and for OpenAI-compatible servers."""
