"""evals: makes a `Problem` from one raw record of a known file format.

Input: a decoded JSON object of LiveCodeBench, HumanEval/MBPP (`test` holds `check(candidate)`), or LeetCodeDataset.
Output: a `Problem`. A record of another format or without a needed field raises `ValueError` with the reason. Not
covered: reading files (`forklock.evals.problems.sets`).
"""

from __future__ import annotations

import ast
import builtins
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Literal

from pydantic import ValidationError

from forklock.evals.contract import Checker, Problem, TestCase
from forklock.evals.problems.unpickle import packed_text
from forklock.sandbox.files.reading import parse_python

Record = Mapping[str, Any]
_CHECK = "_forklock_check"
_LATEST_S = 1e10
"""Larger numbers of seconds since 1970 are milliseconds; this is the year 2286."""
EXTRA_FIELDS = ("checker", "interactive", "time_limit_s", "test_time_limits_s")
"""Fields that any record may have besides those of its format, or get from a sidecar file."""


def problem_from_record(record: object) -> Problem:
    """Return the problem in one record of any known format.

    Raises:
        ValueError: unknown format, missing field, or damaged tests.
    """
    if not isinstance(record, dict):
        raise ValueError(f"expected a JSON object, got {type(record).__name__}")  # noqa: TRY004
    try:
        if "question_content" in record:
            made = _from_livecodebench(record)
        elif "query" in record and "input_output" in record:
            made = _from_leetcode(record)
        elif {"task_id", "prompt", "test", "entry_point"} <= record.keys():
            made = _from_checked(record)
        else:
            raise ValueError("neither a LiveCodeBench, a HumanEval/MBPP nor a LeetCodeDataset record")
        problem = _with_extra(made, record)
    except KeyError as error:
        raise ValueError(f"the record lacks the field {error}") from error
    except ValidationError as error:
        raise ValueError(first_fault(error)) from error
    except (RecursionError, MemoryError) as error:
        raise ValueError("a field is nested too deeply") from error
    _refuse_surrogates(problem)
    return problem


def first_fault(error: ValidationError) -> str:
    """Return the first error, after the name of its field."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]


def _refuse_surrogates(problem: Problem) -> None:
    """Reject lone surrogates: no file can hold them, nor anything that is made from them.

    Raises:
        ValueError: a text of the problem holds one.
    """
    texts = {name: value for name, value in problem if isinstance(value, str)}
    for number, test in enumerate(problem.tests):
        texts |= {f"test {number}, input": test.input, f"test {number}, output": test.output}
    checker = problem.checker
    if checker is not None:
        texts["checker"] = "".join((checker.code, *(one for right in checker.answers for one in right)))
    for name, text in texts.items():
        try:
            text.isascii() or text.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"{name} holds half a character (a lone surrogate)") from error


def _with_extra(problem: Problem, record: Record) -> Problem:
    """Return the problem with the checker and the limits of the record, if it has any."""
    extra = {name: record[name] for name in ("interactive", "time_limit_s") if name in record}
    checker = record.get("checker")
    if checker == "interactive":
        extra["interactive"], checker = True, None
    if checker is not None:
        extra["checker"] = _checker(checker, problem)
    if (limits := record.get("test_time_limits_s")) is not None:
        if not isinstance(limits, list) or len(limits) != len(problem.tests):
            raise ValueError(
                f"test_time_limits_s must be a list of {len(problem.tests)} numbers, one per test"
            )
        extra["tests"] = [
            test.model_dump() | {"time_limit_s": one} for test, one in zip(problem.tests, limits, strict=True)
        ]
    return Problem.model_validate(problem.model_dump() | extra) if extra else problem


def _checker(field: object, problem: Problem) -> dict[str, Any]:
    if problem.tests[0].kind == "assert":
        raise ValueError("a checker is of no use to assert tests, which compare for themselves")
    data = {"kind": field} if isinstance(field, str) else dict(_mapping(field))
    try:
        checker = Checker.model_validate(data)
    except ValidationError as error:
        raise ValueError(f"checker: {first_fault(error)}") from error
    if checker.kind == "program" and "def check(" not in checker.code:
        raise ValueError("a checker of kind program needs `code` that defines check(input, expected, output)")
    if checker.kind == "any" and len(checker.answers) != len(problem.tests):
        raise ValueError(f"a checker of kind any needs `answers`: {len(problem.tests)} lists, one per test")
    return data


def _from_livecodebench(record: Record) -> Problem:
    metadata = _mapping(record.get("metadata"))
    tests = (
        *_lcb_tests(record["public_test_cases"], public=True),
        *_lcb_tests(record["private_test_cases"], public=False),
    )
    if not tests:
        raise ValueError("the record has no tests")
    entry_point = metadata.get("func_name")
    if entry_point is None and any(test.kind == "functional" for test in tests):
        raise ValueError("functional tests, but no func_name in metadata")
    return Problem(
        question_id=str(record["question_id"]),
        title=str(record.get("question_title", "")),
        prompt=str(record["question_content"]),
        starter_code=str(record.get("starter_code") or ""),
        entry_point=entry_point,
        difficulty=str(record.get("difficulty") or "unknown"),
        platform=str(record.get("platform") or "unknown"),
        contest_date=_day(record.get("contest_date")),
        tests=tests,
    )


def _lcb_tests(field: object, *, public: bool) -> list[TestCase]:
    """Read tests that are a list, JSON text, or LiveCodeBench's packed pickle of JSON text."""
    if isinstance(field, str):
        text = field if field.lstrip()[:1] in ("[", "") else packed_text(field)
        field = json.loads(text) if text.strip() else []
    if not isinstance(field, list):
        raise ValueError("tests are not a list")  # noqa: TRY004 - one error type for bad data
    return [_lcb_test(item, public=public) for item in field]


def _lcb_test(item: object, *, public: bool) -> TestCase:
    if not isinstance(item, dict):
        raise ValueError("a test is not a JSON object")  # noqa: TRY004
    kinds: dict[object, Literal["stdin", "functional"]] = {"stdin": "stdin", "functional": "functional"}
    kind = kinds.get(item.get("testtype"))
    if kind is None:
        raise ValueError(f"unknown testtype {item.get('testtype')!r}")
    return TestCase(kind=kind, input=_as_text(item["input"]), output=_as_text(item["output"]), public=public)


def _as_text(field: object) -> str:
    """Return text as it is, and any other value as JSON."""
    return field if isinstance(field, str) else json.dumps(field)


def _from_checked(record: Record) -> Problem:
    """Read a HumanEval or MBPP record: `check(candidate)` with asserts, and the code to continue in `prompt`."""
    starter, test = str(record["prompt"]), str(record["test"])
    entry_point = _tested_name(test, str(record["entry_point"]).strip())
    prelude = given_code(starter, entry_point)
    task_id = str(record["task_id"])
    platform = task_id.split("/", maxsplit=1)[0].lower()
    return Problem(
        question_id=task_id,
        title=entry_point,
        prompt=_stated(starter, test, platform),
        starter_code=starter,
        prelude=prelude,
        entry_point=entry_point,
        platform=platform,
        tests=(_check_program(prelude, test),),
    )


def _check_program(prelude: str, test: str) -> TestCase:
    """Return the test with `check` renamed, because a solution may be called `check` too (MBPP/56)."""
    renamed = test.replace("def check(candidate)", f"def {_CHECK}(candidate)", 1)
    return TestCase(kind="assert", input=f"{prelude}\n\n{renamed}\n\n{_CHECK}(candidate)\n", output="")


def _tested_name(test: str, entry_point: str) -> str:
    """Return the function that the test really calls: nine MBPP records name a helper as their entry point."""
    try:
        tree = parse_python(test)
    except SyntaxError:
        return entry_point
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    calls = {
        node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    } - set(dir(builtins))
    if entry_point in used or "candidate" in used or len(calls) != 1:
        return entry_point
    return calls.pop()


def _stated(starter: str, test: str, platform: str) -> str:
    """Return the statement. MBPP's one-line statements do not fix the interface, so its first test is added."""
    if not platform.startswith("mbpp"):
        return starter
    first = next((line.strip() for line in test.splitlines() if line.strip().startswith("assert")), "")
    return f"{starter}\n# Example: {first}\n" if first else starter


def _from_leetcode(record: Record) -> Problem:
    meta = _mapping(record.get("meta"))
    prelude = str(record["prompt"])
    return Problem(
        question_id=str(record["task_id"]),
        title=str(record["task_id"]),
        prompt=str(record["query"]).split("Please complete the following python code", maxsplit=1)[0].strip(),
        starter_code=str(meta.get("lang_code") or ""),
        prelude=prelude,
        entry_point=str(record["entry_point"]).rsplit(".", maxsplit=1)[-1],
        difficulty=str(meta.get("difficulty") or "unknown").lower(),
        platform="leetcode",
        tests=(_check_program(prelude, str(record["test"])),),
    )


def given_code(starter: str, entry_point: str) -> str:
    """Return the part of `starter` that is given and not asked for; "" where it does not parse.

    These are the top-level statements except the entry point's definition: imports, constants, helpers.
    """
    try:
        tree = parse_python(starter)
    except SyntaxError:
        return ""
    last = tree.body[-1] if tree.body else None
    kept = [node for node in tree.body if getattr(node, "name", None) != entry_point]
    if isinstance(last, ast.FunctionDef) and last in kept:
        kept.remove(last)  # a stub to complete under another name
    return "\n\n".join(ast.unparse(node) for node in kept)


def _mapping(field: object) -> Mapping[str, Any]:
    if isinstance(field, str) and field.strip():
        field = json.loads(field)
    return field if isinstance(field, dict) else {}


def _day(field: object) -> date | None:
    """Read a date from ISO text, or from seconds or milliseconds since 1970 in UTC (pandas writes times so)."""
    if isinstance(field, int | float) and not isinstance(field, bool):
        try:
            seconds = field / 1000 if abs(field) > _LATEST_S else field
            return datetime.fromtimestamp(seconds, tz=UTC).date()
        except (OverflowError, OSError, ValueError) as error:
            raise ValueError(f"contest_date: no date is {field:.3g} seconds after 1970") from error
    return date.fromisoformat(str(field)[:10]) if field else None
