"""Runs inside the sandbox, as the text of `python -c`: unittest as usual, results also to a report file.

`argv[1]` is the report's path, the rest is unittest's own command line. One JSON object per test and line;
the last line says that the run came to its end. Stands alone: any Python from 3.6 on, standard library only.
"""

import json
import os
import signal
import sys
import traceback
import unittest
from typing import Any, Dict, List

_LIMIT = float(os.environ.get("FORKLOCK_TEST_TIMEOUT", "0"))


def _expired(_number: int, _frame: Any) -> None:
    raise AssertionError("timed out after {:g} s".format(_LIMIT))


class _Timed(unittest.TextTestResult):
    def startTest(self, test: Any) -> None:
        super().startTest(test)
        if _LIMIT:
            signal.signal(signal.SIGALRM, _expired)
            signal.setitimer(signal.ITIMER_REAL, _LIMIT)

    def stopTest(self, test: Any) -> None:
        if _LIMIT:
            signal.setitimer(signal.ITIMER_REAL, 0)
        super().stopTest(test)


def _run() -> None:
    report = sys.argv.pop(1)
    rows: List[Dict[str, Any]] = []
    write, dumps = open, json.dumps  # held here, in case the tested code replaces them

    class Result(_Timed):
        def _row(self, test: Any, outcome: str, error: Any = None) -> None:
            text = "".join(traceback.format_exception(*error)) if error else ""
            rows.append({"id": test.id(), "outcome": outcome, "text": text[-20000:]})

        def addSuccess(self, test: Any) -> None:
            super().addSuccess(test)
            self._row(test, "passed")

        def addError(self, test: Any, err: Any) -> None:
            super().addError(test, err)
            self._row(test, "failed", err)

        def addFailure(self, test: Any, err: Any) -> None:
            super().addFailure(test, err)
            self._row(test, "failed", err)

        def addExpectedFailure(self, test: Any, err: Any) -> None:
            super().addExpectedFailure(test, err)
            self._row(test, "passed")

        def addUnexpectedSuccess(self, test: Any) -> None:
            super().addUnexpectedSuccess(test)
            self._row(test, "failed")

        def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
            super().addSubTest(test, subtest, err)
            if err is not None:
                self._row(test, "failed", err)

    class Runner(unittest.TextTestRunner):
        def _makeResult(self) -> unittest.TextTestResult:
            return Result(self.stream, self.descriptions, self.verbosity)

    program = unittest.main(
        module=None, argv=["python -m unittest", *sys.argv[1:]], exit=False, testRunner=Runner
    )
    with write(report, "w", encoding="utf-8") as out:
        out.writelines(dumps(row) + "\n" for row in rows)
        out.write(dumps({"end": len(rows)}) + "\n")
    sys.exit(not program.result.wasSuccessful() or not program.result.testsRun)


_run()
