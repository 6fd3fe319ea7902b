"""LoRA adapters: the registry, their history, and which of them serves."""
