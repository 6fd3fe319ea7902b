"""The engine for providers and OpenAI-compatible servers."""
