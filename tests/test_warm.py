"""A command in a fork of the warm Python ends and prints as in a Python of its own, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from warm import warm_python, warm_run

CODES = {
    "prints": "print('out'); import sys; print('err', file=sys.stderr)",
    "no newline": "print('x', end='')",
    "reads": "import sys; print(sys.stdin.read().upper())",
    "arguments": "import sys; print(ascii(sys.argv))",
    "place": "import os; print(os.getcwd(), ascii(os.environ['MARK']), 'HOME' in os.environ)",
    "main": "print(__name__)",
    "exit code": "raise SystemExit(7)",
    "large exit code": "raise SystemExit(256 + 3)",
    "exit words": "raise SystemExit('words')",
    "no exit code": "raise SystemExit",
    "at once": "import os; os._exit(5)",
    "killed": "import os; os.kill(os.getpid(), 9)",
    "interrupted": "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(60)",
    "at exit": "import atexit; atexit.register(print, 'late'); print('early')",
    "thread": "import threading, time; threading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()",
    "child": "import subprocess; print(subprocess.run(['sh', '-c', 'exit 3']).returncode)",
    "own group": "import os; print(os.getpgid(0) == os.getpid(), os.isatty(1))",
}


@pytest.mark.parametrize("name", CODES)
def test_as_in_a_python_of_its_own(tmp_path: Path, name: str) -> None:
    argv = [sys.executable, "-c", CODES[name], "a", "b\udcff"]
    env = {"MARK": "\udcfe", "PATH": os.environ["PATH"]}
    plain = subprocess.run(
        argv, cwd=tmp_path, env=env, input="in", capture_output=True, text=True, check=False
    )
    warm = warm_run(argv, cwd=tmp_path, env=env, input="in")
    assert (warm.returncode, warm.stdout) == (plain.returncode, plain.stdout), warm.stderr
    assert name == "interrupted" or warm.stderr == plain.stderr


def test_an_exception_is_a_traceback_and_code_1(tmp_path: Path) -> None:
    done = warm_run([sys.executable, "-c", "1 / 0"], cwd=tmp_path)
    assert done.returncode == 1 and done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_nothing_of_one_command_is_seen_by_the_next(tmp_path: Path) -> None:
    code = "import os, sys, json; print(hasattr(json, 'mark'), os.getcwd()); json.mark = 1; os.chdir('/')"
    for _ in range(2):
        assert warm_run([sys.executable, "-c", code], cwd=tmp_path).stdout == f"False {tmp_path}\n"


def test_two_at_a_time_and_a_time_out_kills(tmp_path: Path) -> None:
    python = warm_python()
    with Path(os.devnull).open("r+b") as nothing:
        argv = [sys.executable, "-c", "import time; time.sleep(600)"]
        slow = python.start(argv, streams=(nothing.fileno(),) * 3, cwd=tmp_path, env={})
        assert warm_run([sys.executable, "-c", "print(1)"], cwd=tmp_path).stdout == "1\n"
        with pytest.raises(subprocess.TimeoutExpired):
            warm_run(argv, cwd=tmp_path, timeout=0.2)
        os.kill(slow, signal.SIGTERM)
        assert python.wait(slow) == -signal.SIGTERM


def test_what_is_no_command_of_this_environment_is_refused() -> None:
    for argv in (["ls"], ["/usr/bin/python3", "-c", ""], [sys.executable, "script.py"]):
        with pytest.raises(ValueError, match="not a command"):
            warm_run(argv)
