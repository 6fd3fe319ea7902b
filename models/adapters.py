"""The adapter registry: LoRA adapters by base and version, and which one serves.

Lives here and not in selfdistill/, since the agent and evals read `current` and may not import that room.
Layout: `<root>/<base>/<version>/` holds PEFT's own files and `manifest.json`; `<root>/<base>/current` is a
symlink that is replaced atomically. A version's name and folder are never reused: servers cache by name.
"""
