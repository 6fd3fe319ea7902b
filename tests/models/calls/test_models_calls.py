# ruff: noqa: E501
"""Call formats: what is written is read again, what models write in fact is read too, and floods take linear time."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forklock.models.calls import FORMATS, Call, CallFormat, Parameter, Tool, format_named
from forklock.models.contract import Message, ModelFault

READ = Tool(
    "read",
    "Show a file.",
    (
        Parameter("path", "string", "the file"),
        Parameter("first", "integer", "the first line", required=False),
        Parameter("whole", "boolean", "all of it", required=False),
    ),
)
EDIT = Tool(
    "edit",
    "Replace a text in a file.",
    (
        Parameter("path", "string", "the file"),
        Parameter("old", "string", "the text as it is"),
        Parameter("new", "string", "the text as it shall be"),
    ),
)
FINISH = Tool("finish", "Say that the task is done.", (Parameter("words", "string", "a summary"),))
TOOLS = (READ, EDIT, FINISH)

MARKS = (
    "<tool_call>", "</tool_call>", "<function=read>", "</function>", "<parameter=path>", "</parameter>", "<think>",
    "</think>", "```", "```tool", "END", "<<END", "~~~", '{"name": "read", "arguments": {"path": "x"}}', "\n", "\r",
    " ", "'", '"', "\\", "<|call|>", "<|end|>", "<|start|>assistant", "<|channel|>analysis<|message|>",
    "to=functions.read", "analysis", "assistantfinal", "[TOOL_CALLS]", "path: a", "tool: read",
)  # fmt: skip
TEXTS = st.one_of(st.text(), st.lists(st.one_of(st.sampled_from(MARKS), st.text(max_size=8))).map("".join))
CALLS = st.one_of(
    st.builds(lambda path, old, new: Call("edit", {"path": path, "old": old, "new": new}), TEXTS, TEXTS, TEXTS),
    st.builds(
        lambda path, first, whole: Call("read", {"path": path, "first": first, "whole": whole}),
        TEXTS, st.integers(), st.booleans(),
    ),
)  # fmt: skip
EVERY = pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)


@EVERY
@settings(max_examples=100, deadline=None)
@given(call=CALLS)
def test_a_written_call_is_read_again(form: CallFormat, call: Call) -> None:
    try:
        text = form.write(call)
    except ValueError:
        held = "".join(str(value) for value in call.arguments.values())
        assert form.name == "qwen3-xml" and any(
            f"<{mark}" in held for mark in ("/", "parameter", "tool_call")
        )
        return
    found = form.parse(text, TOOLS)
    assert (found.calls, found.prose, found.fault) == ((call,), "", "")


@EVERY
@settings(max_examples=40, deadline=None)
@given(first=CALLS, second=CALLS)
def test_calls_and_prose_are_told_apart(form: CallFormat, first: Call, second: Call) -> None:
    try:
        text = f"First this.\n{form.write(first)}\nThen that.\n{form.write(second)}"
    except ValueError:
        return
    assert form.parse(text, TOOLS).calls == (first, second)
    assert "First this." in form.parse(text, TOOLS).prose


@EVERY
@settings(max_examples=100, deadline=None)
@given(text=TEXTS)
def test_no_text_raises(form: CallFormat, text: str) -> None:
    found = form.parse(text, TOOLS)
    assert isinstance(found.prose, str) and all(
        call.name in ("read", "edit", "finish") for call in found.calls
    )


@EVERY
def test_prose_alone_holds_no_call(form: CallFormat) -> None:
    text = (
        'I would use `read` here. A sample: {"name": "shop", "price": 3}\n```python\nprint("hi")\n```\nDone.'
    )
    found = form.parse(text, TOOLS)
    assert not found.calls and not found.fault and "Done." in found.prose


# -- what models write in fact ------------------------------------------------------------------------------

CODE = 'def f(x):\n    return {"a": x}["a"]  # it\'s "so"\n'


@dataclass(frozen=True)
class Seen:
    """An answer as models write it."""

    form: str
    text: str
    calls: tuple[Call, ...] = (Call("read", {"path": "a.py"}),)
    prose: str | None = None
    fault: tuple[str, ...] = field(default=())
    """Words that the fault must hold."""


def _edit(new: str = "b") -> Call:
    return Call("edit", {"path": "a.py", "old": "a", "new": new})


_JSON = '{"name": "read", "arguments": {"path": "a.py"}}'
_XML = "<function=read>\n<parameter=path>\na.py\n</parameter>\n</function>"
SEEN = {
    # JSON in tags
    "hermes": Seen("hermes", f"<tool_call>\n{_JSON}\n</tool_call>", prose=""),
    "prose before and after": Seen("hermes", f"I look.\n\n<tool_call>{_JSON}</tool_call>\nNow.", prose="I look.\n\nNow."),
    "no closing tag": Seen("hermes", f"<tool_call>\n{_JSON}"),
    "no opening tag": Seen("hermes", f"{_JSON}\n</tool_call>", prose=""),
    "no tags, fenced": Seen("hermes", f"Sure:\n```json\n{_JSON}\n```", prose="Sure:"),
    "no tags, bare": Seen("hermes", f"Sure: {_JSON}"),
    "fence in tags": Seen("hermes", f"<tool_call>\n```json\n{_JSON}\n```\n</tool_call>", prose=""),
    "two in one tag": Seen("hermes", f"<tool_call>\n{_JSON}\n{_JSON}\n</tool_call>", calls=(Call("read", {"path": "a.py"}),) * 2),
    "two tags": Seen("hermes", f"<tool_call>{_JSON}</tool_call>\n<tool_call>{_JSON}</tool_call>", calls=(Call("read", {"path": "a.py"}),) * 2),
    "a list": Seen("hermes", f"<tool_call>[{_JSON}, {_JSON}]</tool_call>", calls=(Call("read", {"path": "a.py"}),) * 2),
    "single quotes": Seen("hermes", "<tool_call>{'name': 'read', 'arguments': {'path': 'a.py', 'whole': True, 'first': None}}</tool_call>", calls=(Call("read", {"path": "a.py", "whole": True}),)),
    "trailing commas": Seen("hermes", '<tool_call>{"name": "read", "arguments": {"path": "a.py",},}</tool_call>'),
    "names without quotes": Seen("hermes", '<tool_call>{name: "read", arguments: {path: "a.py", first: 3}}</tool_call>', calls=(Call("read", {"path": "a.py", "first": 3}),)),
    "missing brackets": Seen("hermes", '<tool_call>{"name": "read", "arguments": {"path": "a.py"</tool_call>'),
    "a bracket too many": Seen("hermes", '<tool_call>{"name": "read", "arguments": {"path": "a.py"}}}</tool_call>'),
    "raw line breaks": Seen("hermes", '<tool_call>{"name": "edit", "arguments": {"path": "a.py", "old": "a", "new": "x\n  y\n"}}</tool_call>', calls=(_edit("x\n  y\n"),)),
    "wrong escapes": Seen("hermes", r'<tool_call>{"name": "edit", "arguments": {"path": "a.py", "old": "a", "new": "\d+\'s"}}</tool_call>', calls=(_edit(r"\d+'s"),)),
    "unescaped quotes": Seen("hermes", '<tool_call>{"name": "edit", "arguments": {"path": "a.py", "old": "a", "new": "print("hi there", 1)"}}</tool_call>', calls=(_edit('print("hi there", 1)'),)),
    "triple quotes": Seen("hermes", '<tool_call>{"name": "edit", "arguments": {"path": "a.py", "old": "a", "new": """x = "1"\n"""}}</tool_call>', calls=(_edit('x = "1"\n'),)),
    "arguments as a string": Seen("hermes", "<tool_call>" + json.dumps({"name": "edit", "arguments": json.dumps(dict(_edit(CODE).arguments))}) + "</tool_call>", calls=(_edit(CODE),)),
    "OpenAI's form": Seen("hermes", '{"id": "1", "type": "function", "function": {"name": "read", "arguments": "{\\"path\\": \\"a.py\\"}"}}'),
    "parameters": Seen("hermes", '<|python_tag|>{"type": "function", "name": "read", "parameters": {"path": "a.py"}}'),
    "flat": Seen("hermes", '<tool_call>{"name": "read", "path": "a.py"}</tool_call>'),
    "Mistral's form": Seen("hermes", '[TOOL_CALLS]read[ARGS]{"path": "a.py"}'),
    "Mistral's list": Seen("hermes", f"[TOOL_CALLS] [{_JSON}]"),
    "wrong kinds": Seen("hermes", '<tool_call>{"name": "read", "arguments": {"path": "a.py", "first": "3", "whole": "False"}}</tool_call>', calls=(Call("read", {"path": "a.py", "first": 3, "whole": False}),)),
    "a number for a text": Seen("hermes", '<tool_call>{"name": "finish", "arguments": {"words": 3}}</tool_call>', calls=(Call("finish", {"words": "3"}),)),
    "other case": Seen("hermes", '<tool_call>{"name": "functions.Read", "arguments": {"Path": "a.py"}}</tool_call>'),
    "hermes model writes XML": Seen("hermes", f"<tool_call>\n{_XML}\n</tool_call>", prose=""),
    # thoughts
    "a thought": Seen("hermes", f"<think>I could\n<tool_call>{_JSON}</tool_call></think>\nNow\n<tool_call>{_JSON}</tool_call>", prose="Now"),
    "a thought that the template opened": Seen("hermes", f"Hm <tool_call> or {_JSON}?\n</think>\n\n<tool_call>{_JSON}</tool_call>", prose=""),
    "a thought in the middle": Seen("hermes", f"One.<think>\nno: {_JSON}</think>Two.<tool_call>{_JSON}</tool_call>", prose="One.Two."),
    "a thought without its end": Seen("hermes", f"<think>So I read.\n<tool_call>{_JSON}</tool_call>"),
    "nothing but a thought": Seen("hermes", "<think>So I read and", calls=(), fault=("<think>",)),
    "a thought's mark in code": Seen("hermes", '<tool_call>{"name": "edit", "arguments": {"path": "a.py", "old": "a", "new": "</think>"}}</tool_call>', calls=(_edit("</think>"),)),
    # faults
    "unknown name": Seen("hermes", '<tool_call>{"name": "reed", "arguments": {}}</tool_call>', calls=(), fault=("reed", "Did you mean read?", "edit, finish", "<tool_call>")),
    "missing argument": Seen("hermes", '<tool_call>{"name": "edit", "arguments": {"path": "a.py"}}</tool_call>', calls=(), fault=("edit lacks old, new", '"new": "..."')),
    "unknown argument": Seen("hermes", '<tool_call>{"name": "read", "arguments": {"path": "a", "firsst": 2}}</tool_call>', calls=(), fault=("'firsst'", "Did you mean first?")),
    "wrong kind": Seen("hermes", '<tool_call>{"name": "read", "arguments": {"path": "a", "first": "x"}}</tool_call>', calls=(), fault=("first of read must be a whole number",)),
    "cut off": Seen("hermes", '<tool_call>{"name": "edit", "arguments": {"path": "a.py", "old": "a", "new": "def f', calls=(), fault=("edit was cut off", "Write less")),
    "cut off in a tag": Seen("hermes", "So:\n<tool_call>\n", calls=(), fault=("cut off",)),
    "broken": Seen("hermes", '<tool_call>{"name": "read", "arguments": {"path" "a.py"}}</tool_call>', calls=(), fault=("read", "colon", "brackets")),
    "quotes that nobody can tell apart": Seen("hermes", '<tool_call>{"name": "edit", "arguments": {"path": "a.py", "old": "a", "new": "s = {"a"}", "x"]"}}</tool_call>', calls=(), fault=("edit", "could not be read")),
    "one good, one bad": Seen("hermes", f'<tool_call>{_JSON}</tool_call><tool_call>{{"name": "x", "arguments": {{}}}}</tool_call>', fault=("no tool 'x'",)),
    "a mark that is broken": Seen(
        "hermes", '<tool_call>\n"name": "read", "path": "a.py"\n</tool_call>', calls=(), fault=("looks like a call", '"name": "read"')
    ),
    "words about a tag": Seen("hermes", f"I will use <tool_call> now.\n<tool_call>{_JSON}</tool_call>"),
    # XML
    "xml": Seen("qwen3-xml", f"<tool_call>\n{_XML}\n</tool_call>", prose=""),
    "xml, no opening tag": Seen("qwen3-xml", f"I look.\n{_XML}\n</tool_call>", prose="I look."),
    "xml, no tags": Seen("qwen3-xml", _XML, prose=""),
    "xml, no closing function": Seen("qwen3-xml", "<tool_call>\n<function=read>\n<parameter=path>\na.py\n</parameter>\n</tool_call>", prose=""),
    "xml, no closing parameter": Seen("qwen3-xml", "<function=edit>\n<parameter=path>\na.py\n<parameter=old>\na\n<parameter=new>\nb\n</function>\n</tool_call>", calls=(_edit(),)),
    "xml, on one line": Seen("qwen3-xml", "<function=read><parameter=path>a.py</parameter><parameter=first>3</parameter></function>", calls=(Call("read", {"path": "a.py", "first": 3}),)),
    "xml, code": Seen("qwen3-xml", f"<tool_call>\n<function=edit>\n<parameter=path>\na.py\n</parameter>\n<parameter=old>\na\n</parameter>\n<parameter=new>\n{CODE}\n</parameter>\n</function>\n</tool_call>", calls=(_edit(CODE),)),
    "xml, two": Seen("qwen3-xml", f"<tool_call>\n{_XML}\n</tool_call>\n<tool_call>\n{_XML}\n</tool_call>", calls=(Call("read", {"path": "a.py"}),) * 2),
    "xml, names in attributes": Seen("qwen3-xml", '<function name="read"><parameter name="path">a.py</parameter></function>'),
    "xml, JSON inside": Seen("qwen3-xml", '<function=read>{"path": "a.py"}</function>'),
    "xml model writes JSON": Seen("qwen3-xml", f"<tool_call>{_JSON}</tool_call>"),
    "xml, cut off": Seen("qwen3-xml", "<tool_call>\n<function=edit>\n<parameter=path>\na.py\n</parameter>\n<parameter=new>\ndef", calls=(), fault=("cut off inside new",)),
    "xml, unknown name": Seen("qwen3-xml", "<function=finsih>\n<parameter=words>\nx\n</parameter>\n</function>", calls=(), fault=("Did you mean finish?", "<function=")),
    # harmony
    "harmony": Seen("harmony", '<|channel|>analysis<|message|>I read.<|end|><|start|>assistant<|channel|>commentary to=functions.read <|constrain|>json<|message|>{"path":"a.py"}<|call|>', prose=""),
    "harmony, marks dropped": Seen("harmony", 'analysisI read to=functions.read?assistantcommentary to=functions.read json{"path":"a.py"}', prose=""),
    "harmony, recipient first": Seen("harmony", '<|start|>assistant to=functions.read<|channel|>commentary json<|message|>{"path": "a.py"}<|call|>', prose=""),
    "harmony, another word": Seen("harmony", '<|channel|>commentary to=functions.read code<|message|>{"path": "a.py"}'),
    "harmony, another name space": Seen("harmony", '<|channel|>commentary to=repo_browser.read <|constrain|>json<|message|>{"path": "a.py"}<|call|>'),
    "harmony, call in the analysis": Seen("harmony", '<|channel|>analysis to=functions.read <|constrain|>json<|message|>{"path": "a.py"}<|call|>'),
    "harmony, preamble": Seen("harmony", '<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary<|message|>I look.<|end|><|start|>assistant<|channel|>commentary to=functions.read <|constrain|>json<|message|>{"path":"a.py"}<|call|>', prose="I look."),
    "harmony, words alone": Seen("harmony", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>Done.<|return|>", calls=(), prose="Done."),
    "harmony, words alone, marks dropped": Seen("harmony", "analysisHm.assistantfinalDone.", calls=(), prose="Done."),
    "harmony, bare text": Seen("harmony", "<|channel|>commentary to=functions.finish <|message|>All is well.<|call|>", calls=(Call("finish", {"words": "All is well."}),)),
    "harmony, cut off": Seen("harmony", '<|channel|>commentary to=functions.edit <|constrain|>json<|message|>{"path":"a.py","new":"de', calls=(), fault=("cut off",)),
    # text
    "text": Seen("text", "I look.\n\n```tool\ntool: read\npath: a.py\n```\n", prose="I look."),
    "text, name alone": Seen("text", "```tool\nread\npath: a.py\n```"),
    "text, name on the fence": Seen("text", "```tool read\npath: a.py\n```"),
    "text, another fence": Seen("text", "```yaml\ntool: read\npath: a.py\n```", prose=""),
    "text, quotes": Seen("text", '```tool\nname: read\npath: "a.py"\nfirst: 3\n```', calls=(Call("read", {"path": "a.py", "first": 3}),)),
    "text, code": Seen("text", f"```tool\ntool: edit\npath: a.py\nold: a\nnew: <<END\n{CODE}\nEND\n```", calls=(_edit(CODE),)),
    "text, fences in code": Seen("text", "```tool\ntool: edit\npath: a.py\nold: a\nnew: <<END\n```\nx: 1\n```\nEND\n```", calls=(_edit("```\nx: 1\n```"),)),
    "text, an inner fence": Seen("text", f"```tool\ntool: edit\npath: a.py\nold: a\nnew:\n```python\n{CODE}```\n```", calls=(_edit(CODE[:-1]),)),
    "text, YAML": Seen("text", "```tool\ntool: edit\npath: a.py\nold: a\nnew: |\n  if x:\n    y\n```", calls=(_edit("if x:\n  y"),)),
    "text, no END": Seen("text", "```tool\ntool: edit\npath: a.py\nold: a\nnew: <<END\nb\n```", calls=(_edit(),)),
    "text, no closing fence": Seen("text", "```tool\ntool: read\npath: a.py"),
    "text, no fence": Seen("text", "tool: read\npath: a.py"),
    "text, a comma": Seen("text", "```tool, read\npath: a.py\n```"),
    "text, two": Seen("text", "```tool\ntool: read\npath: a.py\n```\nand\n```tool\ntool: read\npath: a.py\n```", calls=(Call("read", {"path": "a.py"}),) * 2, prose="and"),
    "text, cut off": Seen("text", "```tool\ntool: edit\npath: a.py\nold: a\nnew: <<END\ndef f", calls=(), fault=("cut off inside new",)),
    "text, strange line": Seen("text", "```tool\ntool: read\nthe file a.py please\n```", calls=(), fault=("the file a.py please", "```tool")),
    "text, no name": Seen("text", "```tool\n```", calls=(), fault=("first line",)),
    "text model writes JSON": Seen("text", f"```json\n{_JSON}\n```"),
}  # fmt: skip


@pytest.mark.parametrize("seen", SEEN.values(), ids=SEEN.keys())
def test_what_models_write_is_read(seen: Seen) -> None:
    found = format_named(seen.form).parse(seen.text, TOOLS)
    assert found.calls == seen.calls
    if seen.prose is not None:
        assert found.prose == seen.prose
    assert bool(found.fault) == bool(seen.fault), found.fault
    for words in seen.fault:
        assert words in found.fault


# -- floods ---------------------------------------------------------------------------------------------------

UNITS = (
    "<tool_call>", '<tool_call>{"', "<tool_call>{", '<tool_call>{"name": "read", "arguments": {"path": "',
    '{"name": ', '{"name": "read", "arguments": {', "{", "[", '"', "'", "\\", " ", "\n", "```", "```tool\n",
    "```tool\ntool: read\nx: <<A\n", "<function=read>", "<function=read><parameter=path>", "<parameter=a>\n",
    "</parameter>", "</function> ", "<think>", "</think>", "<think></think>", "to=functions.read ",
    "<|channel|>commentary to=functions.read json", "<|channel|>analysis<|message|>", "<|channel|>", "assistant",
    '<|channel|>commentary to=functions.read <|message|>{"a": "', "[TOOL_CALLS]", "<tool_call> ", "<tool_call>[",
    '<tool_call>{"a": 1, ', '{"name": {"name": 1}}', "a: <<B\n", "x: |\n  y\n", '"a", ', '" "a": ', "'\n",
)  # fmt: skip


@EVERY
def test_a_flood_is_read_in_linear_time(form: CallFormat) -> None:
    """Ten times the text takes about ten times the time. A quadratic reader takes a hundred times as long."""
    for unit in UNITS:
        small, large = (_seconds(form, unit, size) for size in (8_000, 80_000))
        assert large < 40 * small + 0.3, (unit, small, large)


@pytest.mark.slow
@EVERY
def test_a_megabyte_is_read_in_seconds(form: CallFormat) -> None:
    """It takes under half a second of an idle core; the limit is for busy ones."""
    for unit in UNITS:
        assert _seconds(form, unit, 1_000_000) < 5, unit


def _seconds(form: CallFormat, unit: str, size: int) -> float:
    text = "```tool\ntool: read\n" + unit * (size // len(unit))
    began = time.process_time()
    form.parse(text, TOOLS)
    return time.process_time() - began


# -- prompts --------------------------------------------------------------------------------------------------


@EVERY
def test_instructions_name_all_tools_and_are_stable(form: CallFormat) -> None:
    text = form.instructions(TOOLS)
    assert text == form.instructions(TOOLS)
    for tool in TOOLS:
        for words in (tool.name, tool.description, *(one.description for one in tool.parameters)):
            assert words in text


def test_the_text_format_shows_a_call_that_writes_a_file() -> None:
    path, old, new, delete = (
        Parameter(name, "string", "", required=name == "path") for name in ("path", "old", "new", "whole")
    )
    tools = (READ, Tool("edit", "Edit.", (path, old, new, delete)), FINISH)
    text = format_named("text").instructions(tools)
    assert "tool: edit\npath: ...\nold: <<END\n...\n...\nEND\nnew: <<END\n...\n...\nEND\n```" in text
    assert format_named("text").parse(text, tools).calls[0].name == "edit"


@EVERY
def test_an_answer_holds_the_text_as_it_is(form: CallFormat) -> None:
    shown = "1: x = '<b>'\n```\n2: y\n```"
    assert shown in form.answer(Call("read", {"path": "a"}), shown).content
    assert form.answer(None, "It was cut off.").content == "It was cut off."
    assert form.answer(None, "").role == "user"


def test_harmony_renders_the_conversation_itself() -> None:
    form = format_named("harmony")
    call = Call("read", {"path": "a<|end|>b"})
    talk = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Fix <|start|>system it."),
        Message(
            role="assistant",
            content=f"<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant{form.write(call)}",
        ),
        form.answer(call, "x<|call|>"),
        Message(role="assistant", content="analysisWell.assistantfinalDone."),
    )
    text = form.request(talk).text
    assert text is not None and text.endswith("final<|message|>Done.<|end|><|start|>assistant")
    assert "Fix < |start|>system it.<|end|>" in text and "Hm." not in text
    assert "to=assistant<|channel|>commentary<|message|>x< |call|><|end|>" in text
    assert form.parse(
        text[text.index("<|channel|>commentary to=functions") :].partition("<|call|>")[0], TOOLS
    ).calls == (call,)


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(ModelFault, match="no call format 'yaml'"):
        format_named("yaml")


@pytest.mark.parametrize("letter", ["a", "_", " ", "<"])
def test_a_channel_without_an_end_takes_linear_time(letter: str) -> None:
    assert _once("<|channel|>" + letter * 200_000) < 2
    assert _once("<|channel|>name" + letter * 200_000) < 2


def _once(text: str) -> float:
    began = time.process_time()
    format_named("harmony").parse(text, TOOLS)
    return time.process_time() - began
