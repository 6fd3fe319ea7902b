"""Trains a model on its own samples, and lets the result serve only if it is proven better.

Simple Self-Distillation, arXiv 2604.01193. Adapters are stored by `forklock.models.adapters`.
"""
