"""evals: a judged program in its process: its limits and streams, how it is loaded and called, and its failures.

Input: a job, and for functional tests the arguments. Output: frames on descriptor 4; a script prints to descriptor 1.
Every function here runs in the process of the program itself, so nothing of it is trusted. Runs inside the sandbox;
standard library only.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import resource
import sys
import threading
import types
from typing import Any

from forklock.evals.judging.driver.wire import (
    EXCEPTION,
    GIVEN,
    MEMORY,
    OK,
    WRONG,
    Unplain,
    jsonable,
    pack,
    read_frame,
    unpack,
    write_frame,
)

DEPTH = {"stdin": 50_000, "functional": 550_000, "assert": 50_000}
"""Recursion limits: those of LiveCodeBench, and of LeetCode for its own problems."""
_dumps = json.dumps


def cpu_bound(cpu_s: float) -> int:
    """Return the whole CPU seconds after which the kernel kills a process that may use `cpu_s`.

    The kernel counts ticks, which is wrong by some percent on a busy machine; the exact time decides afterwards.
    """
    return int(cpu_s) + 2


def limit(job: dict[str, Any]) -> None:
    """Set the limits of the process that runs the program.

    The soft CPU limit is the hard one: the kernel then sends SIGKILL, which cannot be ignored as SIGXCPU can.
    """
    memory, cpu = job["memory_mb"] << 20, cpu_bound(job["cpu_s"])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu))


def limit_always() -> None:
    """Set the limits that are the same for every program."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = 256 << 20
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_STACK, (soft, hard))


def dress() -> None:
    """Set arguments and streams as a program's interpreter has them, once for all forks."""
    sys.argv = ["solution.py"]
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, closefd=False)), encoding="utf-8")
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(io.FileIO(1, "w", closefd=False)), encoding="utf-8")
    vars(sys.stdin)["mode"], vars(sys.stdout)["mode"] = (
        "r",
        "w",
    )  # as Python sets them; fast readers look at them
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(io.FileIO(2, "w", closefd=False)), encoding="utf-8", errors="backslashreplace",
        write_through=True,
    )  # fmt: skip
    vars(sys).update(__stdin__=sys.stdin, __stdout__=sys.stdout, __stderr__=sys.stderr)
    sys.set_int_max_str_digits(0)


def compiled_program(job: dict[str, Any]) -> types.CodeType:
    """Compile the program. A byte order mark is dropped, as Python drops that of a file."""
    return compile(job["code"].removeprefix("\ufeff"), "<solution>", "exec", dont_inherit=True)


def load(job: dict[str, Any], program: types.CodeType, module_name: str) -> dict[str, Any]:
    """Run the prelude and the program in one fresh module namespace."""
    module = types.ModuleType(module_name)
    sys.modules[module_name] = module
    space = module.__dict__
    sys.setrecursionlimit(DEPTH[job["style"]])
    if job["prelude"]:
        exec(compile(job["prelude"], "<prelude>", "exec", dont_inherit=True), space)  # noqa: S102
        GIVEN.update(given_classes(space))
    exec(program, space)  # noqa: S102
    return space


def given_classes(space: dict[str, Any]) -> dict[str, type]:
    """Return the classes that the prelude defines, by name."""
    return {
        name: value
        for name, value in space.items()
        if isinstance(value, type) and value.__module__ == space["__name__"]
    }


def resolve(space: dict[str, Any], entry_point: str) -> Any:
    """Return the entry point: a method of a new `Solution`, else a top-level function."""
    solution = space.get("Solution")
    if isinstance(solution, type) and hasattr(solution, entry_point):
        return getattr(solution(), entry_point)
    if entry_point in space:
        return space[entry_point]
    raise NameError(f"the program defines no {entry_point!r}")


def described(error: BaseException) -> str:
    """Return the exception as text, with the line of the program."""
    line = ""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<solution>":
            line = f" (line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.lineno:
        line = f" (line {error.lineno})"
    return f"{type(error).__name__}: {str(error)[:300]}{line}"


def status_of(error: BaseException) -> str:
    """Return the status that an exception means."""
    if isinstance(error, Unplain):
        return WRONG
    return MEMORY if isinstance(error, MemoryError) else EXCEPTION


def run_stdin(job: dict[str, Any], program: types.CodeType) -> None:
    """Run the program as a script; its output and its exit status decide."""
    code = 0
    try:
        load(job, program, "__main__")
        threading._shutdown()  # type: ignore[attr-defined]  # joins the program's threads, as Python does
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if code:
            write_frame(4, [EXCEPTION, f"exit status {code}"])
    except BaseException as error:
        code = 1
        write_frame(4, [status_of(error), described(error)])
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.__stdout__):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            stream.flush()  # type: ignore[union-attr]
    os._exit(code & 0xFF)


def run_functional(job: dict[str, Any], program: types.CodeType, text: str) -> None:
    """Call the function once; write its result as JSON to descriptor 4."""
    try:
        write_frame(4, [OK, _answer(job, load(job, program, "solution"), text)])
    except BaseException as error:
        write_frame(4, [status_of(error), described(error)])
    os._exit(0)


def _answer(job: dict[str, Any], space: dict[str, Any], text: str) -> str:
    arguments = [json.loads(line) for line in text.split("\n") if line.strip()]
    result = resolve(space, job["entry_point"])(*arguments)
    sys.setrecursionlimit(DEPTH["stdin"])  # finds a result that holds itself sooner
    return _dumps(jsonable(result))


def serve(job: dict[str, Any]) -> None:
    """Hold the candidate of an assert program and answer calls until the pipe closes."""
    limit_always()
    limit(job)
    try:
        space = load(job, compiled_program(job), "solution")
        resolve(space, job["entry_point"])
        write_frame(4, [OK, ""])
    except BaseException as error:
        write_frame(4, [status_of(error), described(error)])
        os._exit(0)
    while True:
        try:
            arguments, named = unpack(read_frame(3))
        except EOFError:
            os._exit(0)
        try:
            result = resolve(space, job["entry_point"])(*arguments, **named)
            reply = [OK, pack(result)]
        except BaseException as error:
            reply = [status_of(error), described(error)]
        write_frame(4, reply)
