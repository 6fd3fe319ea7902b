"""What an editor is told and what it may ask: bounds, foreign text, and events and prompts of any kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("acp", reason="the `acp` extra is not installed")

from acp.schema import (
    BlobResourceContents,
    EmbeddedResourceContentBlock,
    ImageContentBlock,
    ResourceContentBlock,
    TextContentBlock,
    TextResourceContents,
)

from forklock.agent.serving.acp.diffs import contents, fenced, inline, locations
from forklock.agent.serving.acp.plan import plan_updates
from forklock.agent.serving.acp.prompt import MOST_TEXT, read_prompt
from forklock.agent.serving.acp.story import MOST_SHOWN, Story
from forklock.agent.serving.child import fault_of

ROOT = Path("/repo")
LIMIT = 1 << 16
"""Bytes of a line that readers with the usual bound take."""


def sent(updates: list[Any]) -> list[str]:
    return [json.dumps(one.model_dump(mode="json", by_alias=True, exclude_none=True)) for one in updates]


def patch(path: str, *changes: tuple[str, str]) -> str:
    body = "".join(f"@@ -{n} +{n} @@\n-{old}\n+{new}\n" for n, (old, new) in enumerate(changes, 1))
    return f"diff --git a/{path} b/{path}\n--- a/{path}\n+++ b/{path}\n{body}"


def test_a_large_change_is_cut_and_the_command_that_shows_it_is_named() -> None:
    diff = patch("a.py", *[("\u00e4" * 1000, "x" * 1000)] * 200)
    event = {"type": "candidate_ruled", "candidate": "1.0", "hop": "tests", "why": "\u00e4" * 10**6, "diff": diff,
             "place": "p" * 10**5, "tests_passed": 1, "tests_failed": 2}  # fmt: skip
    [call] = sent(Story(ROOT, run="R").take(event))
    assert len(call) < LIMIT and "more changed places: `agent show R --candidate 1.0 --diff`" in call
    whole = {"type": "run_ended", "outcome": "passes, in doubt", "detail": "d" * 10**6, "diff": diff}
    story = Story(
        ROOT, run="R", verdict={"question": "q" * 10**6, "candidate": "1.0", "passing": ["1.0", "1.3"]}
    )
    lines = sent([*story.begin(), *story.take(whole)])
    assert all(len(line) < LIMIT for line in lines) and any("--candidate 1.3" in line for line in lines)


def test_a_doubtful_end_shows_its_question() -> None:
    story = Story(ROOT, run="R")
    story.take({"type": "verdict_given", "candidate": "1.0", "sure": False, "question": "total([]) gives 1, was 0",
                "passing": ["1.0"]})  # fmt: skip
    told = sent(
        story.take({"type": "run_ended", "outcome": "passes, in doubt", "diff": patch("a", ("1", "2"))})
    )
    assert any("total([]) gives 1, was 0" in line for line in told) and story.has_change


def test_the_first_candidates_are_shown_and_all_that_pass() -> None:
    story = Story(ROOT, run="R")
    fall = [{"type": "candidate_ruled", "candidate": f"1.{n}", "hop": "tests"} for n in range(2 * MOST_SHOWN)]
    told = [one for event in fall for one in story.take(event)]
    assert len(told) == MOST_SHOWN
    assert len(story.take({"type": "candidate_ruled", "candidate": "1.999", "hop": "solved"})) == 1
    assert not story.take({"type": "candidate_ruled", "candidate": "2.0", "hop": "duplicate"})


def test_turns_of_a_driving_model_are_tool_calls() -> None:
    story = Story(ROOT, run="R")
    story.begin()
    at = {"rollout": 1, "turn": 2, "call": 0}
    arguments = json.dumps({"code": "x\ny", "path": "shop.py"})
    events: list[dict[str, Any]] = [
        {"type": "rollout_started", "rollout": 1}, {"type": "turn_asked", **at, "new_tokens": 70, "prompt_tokens": 900},
        {"type": "turn_answered", **at, "completion_tokens": 30, "text": "I look"},
        {"type": "tool_called", **at, "name": "edit", "arguments": arguments},
        {"type": "tool_answered", **at, "kind": "refused", "text": "no such file"},
        {"type": "rollout_ended", "rollout": 1, "why": "it went in circles", "diff": ""},
    ]  # fmt: skip
    told = [one for event in events for one in story.take(event)]
    plan, called, answered = told[1], told[2], told[3]
    assert "turn 2, 100 tokens" in plan.entries[2].content and plan.entries[2].status == "in_progress"
    assert (called.title, called.kind) == ("Try 1, turn 2: `edit` `shop.py`", "edit")
    assert called.tool_call_id == answered.tool_call_id and answered.status == "failed"
    assert "no such file" in answered.content[0].content.text and "went in circles" in told[4].content.text


@pytest.mark.hostile("terminal")
def test_foreign_text_cannot_leave_its_block() -> None:
    evil = "```\n![x](http://evil/steal)\n\x1b]52;c;aGk=\x07"
    block = fenced(evil)
    fence = block.splitlines()[0]
    assert block.splitlines().count(fence) == 2 and len(fence) > 3 and "\x1b" not in block
    line = inline("`a`\n[click](http://evil)\u202e")
    assert line.count("`") == 2 and line.startswith("`") and line.endswith("`") and "\u202e" not in line


@pytest.mark.hostile("answers")
@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "a\0b"])
def test_a_diff_names_no_place_outside(name: str) -> None:
    diff = f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-a\n+b\n"
    assert not locations(diff, ROOT)
    assert not [part for part in contents(diff, ROOT, "x") if part.type == "diff"]


def test_new_removed_and_oddly_named_files_are_shown() -> None:
    diff = (
        "diff --git a/new b/new\nnew file mode 100644\n--- /dev/null\n+++ b/new\n@@ -0,0 +1,2 @@\n+++ b/x\n+b\n"
        "\\ No newline at end of file\n"
        'diff --git "a/\\303\\244 b.py" "b/\\303\\244 b.py"\n--- "a/\\303\\244 b.py"\t\n+++ "b/\\303\\244 b.py"\t\n'
        "@@ -3,2 +3,2 @@ def x\n--- old\n+++ new\udc80\n same\n"
        "diff --git a/gone b/gone\ndeleted file mode 100644\n--- a/gone\n+++ /dev/null\n@@ -1 +0,0 @@\n-bye\n"
    )
    parts = [part for part in contents(diff, ROOT, "x") if part.type == "diff"]
    assert [(part.path, part.old_text, part.new_text) for part in parts] == [
        ("/repo/new", None, "++ b/x\nb"), ("/repo/\u00e4 b.py", "-- old\nsame", "++ new?\nsame"),
        ("/repo/gone", "bye", ""),
    ]  # fmt: skip
    assert [(place.path, place.line) for place in locations(diff, ROOT)][1] == ("/repo/\u00e4 b.py", 3)


_kinds = [name.removeprefix("_on_") for name in dir(Story) if name.startswith("_on_")]
_keys = [
    "candidate",
    "hop",
    "tests_passed",
    "diff",
    "why",
    "places",
    "outcome",
    "question",
    "passing",
    "step",
    "path",
]


@given(
    st.lists(st.dictionaries(st.sampled_from(_keys), st.text() | st.integers() | st.none()), max_size=5),
    st.data(),
)
def test_unknown_events_and_missing_keys_are_borne(events: list[dict[str, Any]], data: st.DataObject) -> None:
    story = Story(ROOT)
    story.begin()
    for event in events:
        if data.draw(st.booleans()):
            event = {key: value for key, value in event.items() if key not in ("places", "passing")}
        else:
            event = {}
        sent(story.take({**event, "type": data.draw(st.sampled_from([*_kinds, "turn_of_tomorrow", ""]))}))


_odd = st.none() | st.text() | st.integers() | st.lists(st.text()) | st.floats()


@given(st.dictionaries(st.sampled_from(["check", "passed", "regression", "failed", "places"]), _odd))
def test_any_plan_can_be_told(facts: dict[str, Any]) -> None:
    sent(plan_updates(facts))


@given(st.text())
def test_any_text_is_a_diff_that_can_be_shown(text: str) -> None:
    assert isinstance(contents(text, ROOT, "x"), list)


# -- prompts --------------------------------------------------------------------------------------------------


def words(text: str) -> TextContentBlock:
    return TextContentBlock(type="text", text=text)


def test_a_prompt_is_read() -> None:
    file = TextResourceContents(uri="file:///repo/pkg/shop.py", text="```\ndef total(): ...\n")
    asked = read_prompt(
        [words("Fix this in "), EmbeddedResourceContentBlock(type="resource", resource=file), words(" please.\r\n"),
         ResourceContentBlock(type="resource_link", name="n", uri="file:///etc/passwd"),
         words("\n  Test:  python -m pytest -q "),
         ResourceContentBlock(type="resource_link", name="x", uri="file:///repo/x.py"), words("  \n")],
        ROOT,
    )  # fmt: skip
    assert asked.test == "python -m pytest -q x.py" and not asked.command
    assert asked.task.startswith("Fix this in `pkg/shop.py` please.") and "`passwd`" in asked.task
    assert "From pkg/shop.py:\n````\n```\ndef total(): ..." in asked.task and "/etc" not in asked.task


@pytest.mark.parametrize(
    ("said", "command", "argument", "task"),
    [
        ("/test pytest -q", "test", "pytest -q", ""),
        ("/test pytest -q\ntotal is wrong", "test", "pytest -q", "total is wrong"),
        ("/undo", "undo", "", ""),
        ("/apply 2026", "apply", "2026", ""),
        ("/continue no,\nkeep it", "continue", "no,", "keep it"),
        ("/etc/hosts is wrong", "", "", "/etc/hosts is wrong"),
        ("/help", "", "", "/help"),
        ("", "", "", ""),
    ],
)
def test_commands(said: str, command: str, argument: str, task: str) -> None:
    asked = read_prompt([words(said)], ROOT)
    assert (asked.command, asked.argument, asked.task) == (command, argument, task)


@pytest.mark.hostile("damage")
def test_floods_and_other_media_are_bounded_and_told_of() -> None:
    picture = ImageContentBlock(type="image", data="", mime_type="image/png")
    blob = EmbeddedResourceContentBlock(
        type="resource", resource=BlobResourceContents(uri="file:///repo/a.bin", blob="")
    )
    flood = [words("x" * 10**6), picture, blob, *[words("y")] * 1000]
    asked = read_prompt(flood, ROOT)
    assert len(asked.task) == MOST_TEXT
    told = " ".join(asked.left_out)
    assert "pictures" in told and "a.bin is not text" in told and "first 64 parts" in told


def test_the_fault_of_a_command_is_its_last_error() -> None:
    said = "run x\nerror: one\nmore\nerror: the check passes already\nfix:   give another\n"
    assert fault_of(said) == "the check passes already\nfix:   give another"
    assert fault_of("interrupted; nothing is lost") == ""
