"""What every known language does, by one suite: a folder of `conformance/` for each.

To add a language make a folder: `repo/` is a small repository whose `target` is called by the failing `test`, and
`expected.toml` says what the tools find. Runs with a model and the language's own runner are in
`tests/agent/asking/test_agent_braces.py`, look-ups by its server in `tests/tools/lsp/`.
"""

from __future__ import annotations

import shutil
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from forklock.tools.contract import (
    EditRefused,
    ReplaceSymbol,
    Symbol,
    TestFailure,
    TestReport,
    TestStatus,
    ToolFault,
)
from forklock.tools.edits.apply import preview
from forklock.tools.index.files import load_index
from forklock.tools.index.map import repo_map
from forklock.tools.languages.known import (
    LANGUAGES,
    check_syntax,
    doc,
    find_symbol,
    language_of,
    signature,
    symbol_source,
)
from forklock.tools.languages.known import symbols as symbols_of
from forklock.tools.languages.language import Language
from forklock.tools.localise.localise import localise
from forklock.tools.lsp.servers.table import SERVERS, servers_for_file

FOLDER = Path(__file__).parent / "conformance"
VARIANTS = {"tsx", "jsx"}
"""Fences of languages that differ from another one by their grammar alone."""


@dataclass(frozen=True)
class Case:
    folder: Path
    expected: dict[str, Any] = field(repr=False)

    @property
    def path(self) -> str:
        return str(self.expected["file"])

    @property
    def text(self) -> str:
        return (self.folder / "repo" / self.path).read_text("utf-8")

    @property
    def language(self) -> Language:
        return language_of(self.path)

    @property
    def symbol(self) -> Symbol:
        found = find_symbol(self.path, self.text, self.expected["target"])
        assert found is not None
        return found


CASES = [
    Case(folder, tomllib.loads((folder / "expected.toml").read_text())) for folder in sorted(FOLDER.iterdir())
]
each = pytest.mark.parametrize("case", CASES, ids=lambda case: case.folder.name)


def test_every_language_has_a_case() -> None:
    assert {one.name for one in LANGUAGES} - VARIANTS == {case.language.name for case in CASES}
    assert all(case.language.reads for case in CASES)


@each
def test_outline(case: Case) -> None:
    found = symbols_of(case.path, case.text)
    assert [f"{one.name_path} {one.kind}" for one in found] == case.expected["outline"]
    assert signature(case.text, case.symbol) == case.expected["signature"]
    assert doc(case.text, case.symbol) == case.expected["doc"]
    assert symbol_source(case.text, case.symbol).split("\n")[-2].strip() in {
        "}",
        "end",
        "return rounded(sum_)",
    }


@each
def test_edit_with_gate(case: Case) -> None:
    expected, text = case.expected, case.text
    edit = ReplaceSymbol(path=case.path, name_path=expected["target"], source=expected["new"])
    after = preview(text, edit)
    assert check_syntax(case.path, after) is None and expected["kept"] in after
    body = max(expected["new"].split("\n")[1:], key=len).strip()
    assert body not in text and body in after
    others = [one for one in symbols_of(case.path, text) if one.name_path not in expected["target"]]
    assert [symbol_source(text, one) for one in others if not _holds(one, case.symbol)] == [
        symbol_source(after, one)
        for one in symbols_of(case.path, after)
        if one.name_path not in expected["target"]
    ]
    same = ReplaceSymbol(
        path=case.path, name_path=expected["target"], source=symbol_source(text, case.symbol)
    )
    assert preview(text, same) == text
    with pytest.raises(EditRefused, match="not parse"):
        preview(text, edit.model_copy(update={"source": expected["broken"]}))
    with pytest.raises(EditRefused, match=r"no definition 'totla'.*\btotal|Total"):
        preview(text, edit.model_copy(update={"name_path": "totla"}))


def _holds(outer: Symbol, inner: Symbol) -> bool:
    return outer.start_line <= inner.start_line and inner.end_line <= outer.end_line


@each
def test_header_and_statements(case: Case) -> None:
    found = case.language.shape(case.expected["code"])
    assert found is not None and found.header == case.expected["header"]
    assert sorted({one.start for one in found.statements}) == case.expected["statements"]
    assert any(one.body is not None for one in found.statements)  # the loop's own
    assert case.language.shape(case.expected["broken"]) is None
    commented = case.language.comments("A remark.\nAnother.") + case.expected["code"]
    again = case.language.shape(commented)
    assert again is not None and again.words == found.words


@each
def test_prompts(case: Case) -> None:
    language, code = case.language, case.expected["code"]
    assert language.name and language.comment
    header = "".join(code.splitlines(keepends=True)[: case.expected["header"]])
    assert header.rstrip() in language.to_be_written(header)
    assert language.shape(language.to_be_written(header)) is not None
    opening, rest = header, code[len(header) :]
    assert language.continued(opening, rest) == code
    behind = f"\n{language.comment} next\n{code}"
    assert language.continued(opening, rest + behind).rstrip().endswith(code.rstrip()[-20:])
    assert language.continued(opening, rest + behind).count("sum") == code.count("sum")
    assert any(f"\n{rest}{behind}".find(stop) > 0 for stop in language.stops(""))


@each
def test_index_and_uses(case: Case, tmp_path: Path) -> None:
    root = _repo(case, tmp_path)
    file = load_index(root).files[case.path]
    heads = {head.name_path: head for head in file.heads}
    target = heads[case.expected["target"]]
    assert case.text.split("\n")[target.name_line - 1].find(target.name) >= 0
    assert file.signature(target).startswith(case.expected["signature"].split("(")[0])
    assert {"rounded", "by"} <= set(file.words) and "prices." not in file.words
    used = {use.name for use in case.language.uses(case.text, case.symbol.start_line, case.symbol.end_line)}
    assert {"rounded", "by"} <= used and not {"for", "end", "return"} & used
    assert target.name in repo_map(root, budget_tokens=500, count_tokens=lambda text: len(text.split()))


@each
def test_localisation_from_a_failing_test(case: Case, tmp_path: Path) -> None:
    root = _repo(case, tmp_path)
    failure = TestFailure(case.expected["test"], "expected 6")
    report = TestReport(TestStatus.FAILED, frozenset({case.expected["passing"]}), (failure,))
    found = localise(root, task="a wrong sum", report=report)
    assert found[0].symbol.path == case.path and found[0].symbol.name_path == case.expected["target"]
    assert any("called by" in reason for reason in found[0].reasons)


@each
def test_its_look_ups_have_a_server(case: Case, tmp_path: Path) -> None:
    """What the server answers is tested in `tests/tools/lsp/`."""
    try:
        rows = servers_for_file(case.path, _repo(case, tmp_path))
    except ToolFault as fault:
        assert "no language server" in fault.message or "cannot be contained" in fault.message
        pytest.skip(f"LOOK-UPS WERE NOT TESTED IN {case.language.name}: {fault.message}")
    assert all(Path(case.path).suffix in SERVERS[row].languages for row in rows)


def _repo(case: Case, tmp_path: Path) -> Path:
    return Path(shutil.copytree(case.folder / "repo", tmp_path / "repo"))
