"""LoRA adapters: their manifests, the registry, its history, and which adapter serves."""

from forklock.models.adapters.manifest import AdapterManifest, AdapterRef, AdapterState
from forklock.models.adapters.registry import AdapterRegistry
from forklock.models.adapters.resolve import resolve_adapter

__all__ = ["AdapterManifest", "AdapterRef", "AdapterRegistry", "AdapterState", "resolve_adapter"]
