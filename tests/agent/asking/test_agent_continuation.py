"""Raw text to go on with: what is shown, where a definition ends, and runs with a scripted engine."""

from __future__ import annotations

import ast
import subprocess
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted import ScriptedEngine, begin

from forklock.agent.asking.raw_text import continuation_text, outdented, revision_text
from forklock.agent.log import ModelAsked
from forklock.agent.session import execute
from forklock.models.contract import Decoding, Request
from forklock.tools.languages.python.language import PYTHON

HEADER = 'def f(xs):\n    """Sum."""\n   '
BODY = " n = 0\n    for x in xs:\n\n        n += x\n    return n\n"


def words(text: str) -> int:
    return len(text.split())


def test_the_file_leads_to_the_header_and_is_cut_from_its_top() -> None:
    before = "import re\nfrom a import b\n" + "".join(f"line{i} = {i}\n" for i in range(100))
    text = continuation_text(
        before, HEADER, task="Wrong\nsum", tests=["def test_f(): ..."], room=40, count=words
    )
    assert text.startswith("def test_f(): ...\n\n# Wrong\n# sum\n\n\nimport re\nfrom a import b\n")
    assert text.endswith("line99 = 99\n" + HEADER)
    assert "line50" not in text
    whole = continuation_text(before, HEADER, task="t", tests=[], room=10_000, count=words)
    assert before + HEADER in whole


def test_a_revision_shows_the_code_and_begins_it_anew() -> None:
    code = HEADER + " return xs[0]\n"
    text = revision_text(code, HEADER, task="It is wrong", tests=["def test_f(): ..."])
    assert text.startswith("def test_f(): ...\n\n# Issue: It is wrong\n")
    assert text.index("# Before the fix:\n\n" + code) < text.index("# After the fix:\n\n" + HEADER)
    assert text.endswith(HEADER)


@pytest.mark.parametrize(
    "behind",
    ["", "\n\ndef g():\n    return 2\n", "\nassert f([1]) == 1\n", "# After that\n", "@cached\ndef g(): ...\n",
     "def broken(:\n"],
)  # fmt: skip
def test_what_is_written_behind_the_definition_is_cut_off(behind: str) -> None:
    assert PYTHON.continued(HEADER, BODY + behind) == HEADER + BODY


def test_a_text_that_touches_the_margin_inside_a_string_is_kept() -> None:
    body = ' return """\nA\nb"""\n'
    assert PYTHON.continued(HEADER, body + "x = 1\n") == HEADER + body


def test_code_that_never_parses_is_handed_on_for_the_syntax_gate() -> None:
    assert PYTHON.continued(HEADER, " return (\n\ndef g(): ...\n") == HEADER + " return (\n\n"


@given(
    st.lists(st.sampled_from(["    a = 1", "    if a:", "        b = 2", "", "  # x", "x = 1"]), max_size=8)
)
def test_outdenting_undoes_indenting(lines: list[str]) -> None:
    answer = "\n".join([" first()", *lines])
    indented = "\n".join([" first()", *(textwrap.indent(line, "    ") for line in lines)])
    assert outdented(indented, 4) == answer
    assert outdented(answer, 0) == answer


@given(st.text(alphabet=" \n\tabdef():@#\"'=1", max_size=60))
def test_any_answer_gives_one_definition_or_what_does_not_parse(answer: str) -> None:
    source = PYTHON.continued(HEADER, answer)
    assert source.startswith(HEADER.rstrip())
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError):
        return
    assert isinstance(body[0], ast.FunctionDef)


def test_a_method_ends_at_the_next_one_and_a_nested_function_does_not_end_it() -> None:
    assert "\n    def " not in PYTHON.stops("")
    assert any("\n    def g(self)".startswith(stop) for stop in PYTHON.stops("    "))
    assert any("\ndef g()".startswith(stop) for stop in PYTHON.stops("    "))
    assert not any("\n        def nested()".startswith(stop) for stop in PYTHON.stops("    "))


class GoesOn(ScriptedEngine):
    """Knows how raw text goes on, and nothing else."""

    def __init__(self, ends_with: str, answer: str) -> None:
        super().__init__(lambda request, _: answer if (request.text or "").endswith(ends_with) else " pass")
        self.continues_text = True


@pytest.mark.parametrize("style", ["continue", "revise"])
def test_text_that_goes_on_rightly_solves(repo: Path, style: str) -> None:
    engine = GoesOn(
        'def total(prices):\n    """Sum of the prices."""\n   ', " return sum(prices)\n\n\ndef other(): ...\n"
    )
    report, asked = run(repo, engine, style)
    assert report.outcome == "solved"
    assert "+    return sum(prices)" in report.diff
    assert "other" not in report.diff
    assert {event.messages[0].role for event in asked} == {"text"}


def test_a_method_goes_on_at_its_own_depth(tmp_path: Path) -> None:
    repo = tmp_path / "repo"
    repo.mkdir()
    source = '''
class Cart:
    def __init__(self, prices):
        self.prices = prices

    def total(self):
        """Sum of the prices.

        All of them.
        """
        return self.prices[0]

    def mean(self):
        return self.total() / len(self.prices)
'''
    (repo / "shop.py").write_text(source)
    (repo / "test_shop.py").write_text(
        "from unittest import TestCase\nfrom shop import Cart\n\n\nclass Shop(TestCase):\n"
        "    def test_total(self):\n        assert Cart([1, 2]).total() == 3\n"
    )
    for args in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@t", *args], cwd=repo, check=True)
    header = (
        '    def total(self):\n        """Sum of the prices.\n\n        All of them.\n        """\n       '
    )
    engine = GoesOn(header, " kept = list(self.prices)\n        return sum(kept)\n")
    report, _ = run(repo, engine, "continue")
    assert report.outcome == "solved"
    assert "+        kept = list(self.prices)\n+        return sum(kept)\n" in report.diff


@pytest.mark.parametrize("style", ["continue", "revise", "gap"])
def test_a_definition_that_is_only_described_is_asked_for_in_a_chat(repo: Path, style: str) -> None:
    source = (repo / "shop.py").read_text()
    start, end = source.index("    result = 0"), source.index("def mean")
    (repo / "shop.py").write_text(source[:start] + "\n\n" + source[end:])
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qam", "t"], cwd=repo, check=True
    )
    engine = GoesOn("never", "")
    _, asked = run(repo, engine, style)
    assert "user" in {event.messages[-1].role for event in asked if event.place.endswith(":total")}


def test_an_engine_that_only_chats_is_asked_in_a_chat(repo: Path) -> None:
    engine = ScriptedEngine(lambda *_: "```python\nno")
    _, asked = run(repo, engine, "continue")
    assert {event.messages[-1].role for event in asked} == {"user"}


def run(repo: Path, engine: ScriptedEngine, style: str):  # type: ignore[no-untyped-def]
    prepared = begin(repo, engine, width=4, steps=1, styles=[style])
    report = execute(prepared, engine)
    return report, [e for e in prepared.log.read().events if isinstance(e, ModelAsked)]


def test_a_request_brings_its_own_ends() -> None:
    decoding = Decoding(stop=("a", "b"))
    assert Request(text="x", stop=("b", "c")).stops(decoding) == ("a", "b", "c")
