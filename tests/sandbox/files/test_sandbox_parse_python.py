"""Python text is parsed from any thread, also while a finalizer parses something else."""

from __future__ import annotations

import ast
import gc
import threading

import pytest

from forklock.sandbox.files.reading import parse_python

TEXT = "\n".join(f"def f{n}(a):\n    return [a, (a, {{a: -a}}), f'{{a}}']" for n in range(60))


class Interrupts:
    """Makes another tree when it is collected, as a logged traceback does."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        ast.parse("x = [1, (2, 3)]")


def test_finalizers_and_threads_that_parse_do_no_harm() -> None:
    wanted = ast.dump(ast.parse(TEXT))
    wrong: list[object] = []
    before = gc.get_threshold()
    gc.set_threshold(50)

    def work() -> None:
        for _ in range(30):
            for _ in range(5):
                Interrupts()
            try:
                if ast.dump(parse_python(TEXT)) != wanted:
                    wrong.append("another tree")
            except BaseException as error:
                wrong.append(error)

    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        gc.set_threshold(*before)
    assert not wrong


@pytest.mark.parametrize(
    "text", ["(", "\0", "(" * 9999, "-" * 99_999 + "1", "\ud800", "x = " + "[" * 300 + "]" * 300]
)
def test_what_is_no_python_is_a_syntax_error(text: str) -> None:
    with pytest.raises(SyntaxError) as error:
        parse_python(text)
    assert error.value.msg
