"""From a model's words to edits, and prompts that do not change from run to run."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from questions import CODE, PLACE, REPORT, asked

from forklock.agent.asking.openings import function_header, openings
from forklock.agent.asking.prompts import View, build_request, failure_text, pack
from forklock.agent.asking.protocol import Protocol, ProtocolError
from forklock.agent.contract import Place
from forklock.tools.contract import (
    ReplaceFile,
    ReplaceSymbol,
    SearchReplace,
    Symbol,
    TestFailure,
    TestReport,
    TestStatus,
)


def test_symbol_answers_may_be_fenced_or_continue_the_prefill() -> None:
    protocol = Protocol("symbol")
    prefill = asked("rewrite").prefill
    assert prefill == '```python\ndef total(prices):\n    """Sum."""\n   '
    action = protocol.parse(" return sum(prices)\n```\nDone.", PLACE, prefill=prefill, finished=True)
    (edit,) = action.edits
    assert isinstance(edit, ReplaceSymbol)
    assert edit.source == 'def total(prices):\n    """Sum."""\n    return sum(prices)\n'
    fenced = protocol.parse(
        "Here:\n```python\ndef total(p):\n    return 1\n```", PLACE, prefill="", finished=True
    )
    assert isinstance(fenced.edits[0], ReplaceSymbol)
    assert fenced.edits[0].source == "def total(p):\n    return 1\n"


def test_answers_may_begin_at_any_statement() -> None:
    code = 'def f(a):\n    """Doc."""\n    b = 1\n    for x in a:\n        b += x\n    return b\n'
    ends = [opening.splitlines()[-2:] for opening in openings(code)]
    assert ends == [
        ['    """Doc."""', "   "], ["    b = 1", "   "], ["    for x in a:", "       "], ["        b += x", "   "],
    ]  # fmt: skip
    place = Place("f.py", Symbol("f.py", "f", "function", 1, 6))
    prefill = asked("ending", place=place, code=code, turn=1).prefill
    (edit,) = (
        Protocol("symbol").parse(" b += 2 * x\n    return b\n", place, prefill=prefill, finished=True).edits
    )
    assert isinstance(edit, ReplaceSymbol)
    assert edit.source == code.replace("b += x", "b += 2 * x")
    assert openings("x = 1\n") == [] and len(openings("def f():\n    return 1\n")) == 1


def test_a_diagnosis_before_the_code_is_no_part_of_it() -> None:
    prefill = asked("repair").prefill
    answer = " it returned nothing\n# at all\n\ndef total(prices):\n    # one by one\n    return sum(prices)\n```\n"
    (edit,) = Protocol("symbol").parse(answer, PLACE, prefill=prefill, finished=True).edits
    assert isinstance(edit, ReplaceSymbol)
    assert edit.source == "def total(prices):\n    # one by one\n    return sum(prices)\n"


def test_an_unclosed_fence_counts_when_the_model_had_finished() -> None:
    action = Protocol("symbol").parse("```python\nx = 1\n", PLACE, prefill="", finished=True)
    assert isinstance(action.edits[0], ReplaceSymbol)
    with pytest.raises(ProtocolError, match="cut off"):
        Protocol("symbol").parse("```python\nx = 1\n", PLACE, prefill="", finished=False)


@pytest.mark.parametrize("answer", ["", "I cannot do this.", "```python\n```"])
def test_no_code_is_said_with_an_example(answer: str) -> None:
    with pytest.raises(ProtocolError, match="One valid answer"):
        Protocol("symbol").parse(answer, PLACE, prefill="", finished=True)


def test_file_protocol() -> None:
    action = Protocol("file").parse("```\na = 1\n```", Place("a.txt", None), prefill="", finished=True)
    assert action.edits == (ReplaceFile(path="a.txt", source="a = 1\n"),)


def test_search_replace_blocks_with_and_without_fences() -> None:
    answer = (
        "shop.py\n```python\n<<<<<<< SEARCH\n    return 0\n=======\n    return sum(prices)\n>>>>>>> REPLACE\n```\n"
        "\nother.py\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n"
    )
    action = Protocol("search-replace").parse(answer, PLACE, prefill="", finished=True)
    assert action.edits == (
        SearchReplace(path="shop.py", search="    return 0\n", replace="    return sum(prices)\n"),
        SearchReplace(path="other.py", search="a\n", replace="b\n"),
    )
    with pytest.raises(ProtocolError, match="SEARCH"):
        Protocol("search-replace").parse("no block", PLACE, prefill="", finished=True)


def test_a_whole_definition_stands_for_its_block() -> None:
    """A small model behind a server gives the definition in a fence, whatever it was asked for."""
    protocol = Protocol("search-replace")
    answer = "Here:\n```python\ndef total(prices):\n    return sum(prices)\n```"
    (edit,) = protocol.parse(answer, PLACE, prefill="", finished=True).edits
    assert isinstance(edit, ReplaceSymbol) and edit.name_path == "total"
    for other in (answer.replace("total", "mean"), "```python\nreturn sum(prices)\n```"):
        with pytest.raises(ProtocolError, match="SEARCH/REPLACE"):
            protocol.parse(other, PLACE, prefill="", finished=True)
    with pytest.raises(ProtocolError):
        protocol.parse(answer, PLACE, prefill="", finished=False)


@given(st.text(max_size=400), st.booleans(), st.sampled_from(["symbol", "file", "search-replace"]))
def test_no_answer_raises_anything_but_a_protocol_error(answer: str, finished: bool, name: str) -> None:
    try:
        Protocol(name).parse(answer, PLACE, prefill="", finished=finished)  # type: ignore[arg-type]
    except ProtocolError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("code", "header"),
    [
        ("def f(a):\n    return a\n", "def f(a):\n"),
        (
            "@cache\ndef f(\n    a,\n):\n    '''Doc.\n\n    More.'''\n    return a\n",
            "@cache\ndef f(\n    a,\n):\n    '''Doc.\n\n    More.'''\n",
        ),
        ("async def f():\n    await g()\n", "async def f():\n"),
        ("def f(): return 1\n", ""),
        ("class C:\n    x = 1\n", ""),
        ("def f(:\n", ""),
        ("x = 1\n", ""),
    ],
)  # fmt: skip
def test_function_header(code: str, header: str) -> None:
    assert function_header(code) == header


def view(**changes: object) -> View:
    base: dict[str, object] = {
        "place": PLACE, "code": CODE, "task": "Fix it.", "report": REPORT, "closing": "Do it.",
        "test_sources": ("def test_a():\n    assert total([1]) == 1\n",), "frame": "frame line\n" * 400,
    }  # fmt: skip
    return View(**(base | changes))  # type: ignore[arg-type]


def count(text: str) -> int:
    return len(text) // 4


def test_a_prompt_keeps_code_and_failure_and_fits_its_budget() -> None:
    request = build_request(view(), budget=800, count=count)
    text = "".join(m.content for m in request.messages)
    assert count(text) <= 800
    assert CODE.rstrip() in text and "assert total([1]) == 1" in text and "frame line" in text
    assert "0.13s" not in text


def test_the_rewrite_way_hides_the_present_code() -> None:
    text = "".join(m.content for m in asked("rewrite").messages)
    assert "return 0" not in text and "def total(prices):" in text


def test_failure_text_is_short_and_stable() -> None:
    many = tuple(TestFailure(f"t.py::test_{i}", f"boom at 0x7f{i:010x}") for i in range(9))
    text = failure_text(TestReport(TestStatus.FAILED, failures=many))
    assert "(and 6 more failures)" in text and "0x7f" not in text


@given(
    st.lists(st.text(alphabet="ab `\n", max_size=30), max_size=30), st.integers(min_value=0, max_value=200)
)
def test_packing_never_exceeds_the_room(lines: list[str], room: int) -> None:
    assert count(pack("\n".join(lines), room, count)) <= room


@pytest.mark.parametrize(("style", "said"), [("rewrite", True), ("bare", False), ("correct", False)])
def test_bare_prompts_say_only_the_task_the_check_and_the_code(style: str, said: bool) -> None:
    text = asked(style).messages[-1].content
    assert ("What the check says" in text, "Around it" in text, "House rules" in text) == (said,) * 3
    assert (CODE.strip() in text) == (style == "correct")
    text = asked(style, tests=()).messages[-1].content
    assert "What the check says" in text, "without the check's source, its failure is all there is"
