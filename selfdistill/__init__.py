"""A model learns from its own raw samples: prompts, sampling, LoRA training, the gate, rounds.

Simple Self-Distillation, arXiv 2604.01193. Adapters are stored by `forklock.models.adapters`.
"""
