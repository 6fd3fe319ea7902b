"""A repository's own tests: commands, runs and reports; `inside/` runs in the tested process."""

from forklock.tools.testing.command import Command, detect_test_command, parse_command
from forklock.tools.testing.hopeless import Hopeless, why_hopeless
from forklock.tools.testing.run import Comparison, compare, is_solved, run_tests
from forklock.tools.testing.spectrum import Spectrum, trace_tests

__all__ = [
    "Command",
    "Comparison",
    "Hopeless",
    "Spectrum",
    "compare",
    "detect_test_command",
    "is_solved",
    "parse_command",
    "run_tests",
    "trace_tests",
    "why_hopeless",
]
