"""Programs that tests drive, where they run."""

from __future__ import annotations

import shutil
import subprocess

import pytest


def needs(program: str, *words: str) -> pytest.MarkDecorator:
    """Skips where `program` is not there or, with words, does not answer to them: rustup's `cargo` is there without a
    toolchain, too."""
    there = shutil.which(program) is not None
    if there and words:
        there = subprocess.run([program, *words], capture_output=True, check=False).returncode == 0
    return pytest.mark.skipif(not there, reason=f"{program} DOES NOT RUN HERE: its runner was not tested")
