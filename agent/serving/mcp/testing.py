"""The served tool that runs tests: in a sandbox, on a copy of the tree as it is now."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from forklock.agent.serving.mcp.answers import TestAnswer, test_answer
from forklock.agent.serving.mcp.workbench import Workbench
from forklock.tools.contract import ToolFault
from forklock.tools.testing.run import compare, detect_test_command, parse_command, run_tests


class Testing:
    """The tool, for one workbench."""

    __test__ = False

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def run_tests(
        self,
        command: Annotated[
            str,
            Field(description='such as `python -m pytest -q tests/test_x.py`; no shell. "": the whole suite'),
        ] = "",
        test_timeout_s: Annotated[
            float | None,
            Field(
                gt=0,
                description="seconds for one test, which then fails (node: a file; go: a package; not cargo)",
            ),
        ] = None,
    ) -> TestAnswer:
        """Run tests in a sandbox without network, on a copy; statuses come from the runner's report."""
        words = self._command(command.strip())
        with self._bench.copy() as copy:
            report = run_tests(
                copy,
                words,
                timeout_s=self._bench.options.test_timeout_s,
                test_timeout_s=test_timeout_s,
                cwd=self._bench.options.cwd,
            )
            backend = copy.backend
        before = self._bench.reports.get(words)
        self._bench.reports[words] = self._bench.last_report = report
        return test_answer(report, compare(before, report) if before else None, words, backend)

    def _command(self, asked: str) -> str:
        """Chooses the command.

        Raises:
            ToolFault: nothing to run, a shell is needed, or a client's own command would run without isolation.
        """
        options = self._bench.options
        if asked and options.sandbox == "host":
            raise ToolFault(
                "with --sandbox host only the user's own command is run", fix="leave `command` out"
            )
        found = asked or options.test_command or detect_test_command(self._bench.root / options.cwd)
        if found is None:
            raise ToolFault("no tests were found", fix="give `command`, or start the server with --test CMD")
        parse_command(found)  # refuses before a sandbox is opened
        return found
