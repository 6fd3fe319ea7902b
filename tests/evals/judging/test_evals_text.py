"""Pure parts: comparison of outputs, prompts, and what counts as the program in an answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.evals.contract import EvalFault, Problem, TestCase
from forklock.evals.judging.outputs import json_mismatch, stdout_mismatch
from forklock.evals.runs.extract import Preset, extract_code, fenced_blocks
from forklock.evals.runs.prompts import PRESETS, as_preset, request_for

STARTER = 'def add(a: int, b: int) -> int:\n    """Sum."""\n'
PROBLEM = Problem(
    question_id="p",
    title="add",
    prompt=STARTER,
    starter_code=STARTER,
    entry_point="add",
    tests=(TestCase(kind="assert", input="assert candidate(1, 2) == 3", output=""),),
)
STDIN = Problem(
    question_id="s", title="", prompt="Add.", tests=(TestCase(kind="stdin", input="1", output="1"),)
)
WHOLE = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    ("given_", "expected", "same"),
    [
        ("1 2\n3\n", "1  2 \n3", True),
        ("1\n2", "1 2", False),
        ("1.0", "1", True),
        ("0.30000000000000004", "0.3", True),
        ("0.31", "0.3", False),
        ("1000000", "1000001", False),
        ("1.0000001", "1", False),
        ("yes", "YES", False),
        ("", "\n", True),
        ("nan", "nan", True),
        ("nan", "1.0", False),
        ("inf", "1e400", False),
        ("2e400", "1e400", False),
        ("1e999999999", "1.5", False),
        ("10", "0010", False),
        ("0010", "10", False),
        ("1_000", "1000", False),
        ("-0.0", "0", True),
    ],
)
def test_stdout(given_: str, expected: str, same: bool) -> None:
    assert (stdout_mismatch(given_, expected) is None) == same


@pytest.mark.parametrize(
    ("given_", "expected", "same"),
    [
        ("true", "1", False),
        ("2.0", "2", True),
        ("0.9999999999999999", "1", True),
        ("100000.5", "100000", False),
        ("Infinity", "1.0", False),
        ("true", "true", True),
        ("1", "1.0", True),
        ("0.30000000000000004", "0.3", True),
        ("[[1, 2]]", "[[1,2]]", True),
        ("[1]", "[1, 2]", False),
        ('"a"', '"b"', False),
        ("null", "[]", False),
        ("NaN", "NaN", False),
        ('{"a": 1}', '{"a": 1.0}', True),
        ("not json", "1", False),
        ('"plain"', "plain", True),
        ("1" * 5000, "1" * 5000, True),
        ("1" * 5000, "1" * 4999 + "2", False),
    ],
)
def test_json(given_: str, expected: str, same: bool) -> None:
    assert (json_mismatch(given_, expected) is None) == same


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_every_value_equals_itself(value: object) -> None:
    assert json_mismatch(json.dumps(value), json.dumps(value)) is None


@given(st.text())
def test_every_output_equals_itself(text: str) -> None:
    assert stdout_mismatch(text, text) is None


ANSWERS: list[tuple[str, str | None]] = [
    (f"Here:\n```python\n{WHOLE}\n```\nDone.", WHOLE),
    (f"```\n{WHOLE}\n```", WHOLE),
    (f"```python\n{WHOLE}\n```\nUse it:\n```python\nprint(add(1, 2))\n```", WHOLE),
    (f"```bash\npip install x\n```\n~~~py\n{WHOLE}\n~~~", WHOLE),
    (f"```python\n{WHOLE}", WHOLE),
    (f"```markdown\n```python\n{WHOLE}\n```\n```", WHOLE),
    (f"```markdown\n```python\n{WHOLE}\n```", WHOLE),
    (WHOLE, WHOLE),
    ("I cannot do that.", None),
    ("", None),
    ("Sorry", None),
    ("```bash\nls\n```", None),
    ("```python\n```", None),
]


@pytest.mark.parametrize(("answer", "code"), ANSWERS)
@pytest.mark.parametrize("preset", ["coder-chat", "humaneval-chat"])
def test_extraction(answer: str, code: str | None, preset: Preset) -> None:
    assert extract_code(answer, preset, PROBLEM) == code


@pytest.mark.parametrize(
    "body", ["    return a + b", "```\nreturn a + b\n```", "```python\n    return a + b\n```"]
)
def test_a_bare_body_goes_under_the_signature(body: str) -> None:
    code = extract_code(body, "humaneval-chat", PROBLEM)
    assert code is not None
    space: dict[str, object] = {}
    exec(code, space)
    assert space["add"](1, 2) == 3  # type: ignore[operator]


def test_official_takes_the_last_block_only() -> None:
    assert extract_code(f"```python\n{WHOLE}\n```\n```python\nx\n```", "official-lcb", PROBLEM) == "x"
    assert extract_code(WHOLE, "official-lcb", PROBLEM) is None


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (f"{WHOLE}", WHOLE),
        (f"{WHOLE}\n```\nDone.", WHOLE),
        ("\treturn 1", "    return 1"),
        ("", None),
        ("```", None),
    ],
)
def test_official_qwen_coder_reads_from_inside_a_block(answer: str, code: str | None) -> None:
    assert extract_code(answer, "official-qwen-coder", PROBLEM) == code


def test_official_qwen_coder_asks_as_the_script_does() -> None:
    """The chat of `qwencoder-eval/instruct/eval_plus/model.py` (QwenLM/Qwen2.5-Coder), in its template's parts."""
    request = request_for(PROBLEM, "official-qwen-coder")
    system, user = request.messages
    assert system.content.startswith("You are an intelligent programming assistant")
    assert user.content.startswith("Can you complete the following Python function?\n```python\n")
    assert user.content.endswith("\n```\n") and request.prefill == "```python\n"
    assert "\n```" in request.stop and "\nif __name__" in request.stop


@given(st.text(alphabet="a`~ \n()=def:\t", max_size=200), st.sampled_from(PRESETS))
def test_extraction_never_raises(text: str, preset: Preset) -> None:
    for problem in (PROBLEM, STDIN):
        code = extract_code(text, preset, problem)
        assert code is None or code.strip() or preset == "official-lcb"


@given(
    st.text(alphabet="abc =\n", min_size=1).map(str.strip).filter(bool),
    st.sampled_from(["```", "````", "~~~"]),
)
def test_blocks_come_back(code: str, mark: str) -> None:
    assert fenced_blocks(f"x\n{mark}python\n{code}\n{mark}\ny") == [("python", code)]
    assert fenced_blocks(f"x\n{mark}python\n{code}") == [("python", code)]


def test_prompts_show_what_is_needed_and_no_tests() -> None:
    for preset in PRESETS:
        for problem, word in ((PROBLEM, "def add"), (STDIN, "Add.")):
            request = request_for(problem, preset)
            text = "\n".join(message.content for message in request.messages)
            assert word in text
            assert "candidate(1, 2)" not in text
    official = request_for(STDIN, "official-lcb").messages[-1].content
    assert official.index("### Question") < official.index("### Format") < official.index("### Answer")
    with pytest.raises(EvalFault):
        as_preset("no-such")
