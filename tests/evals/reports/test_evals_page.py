"""The HTML page: complete, self-contained, and deaf to what models write."""

from __future__ import annotations

import re
from datetime import date
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up import made_up_run, random_rows, rows

from forklock.evals.contract import EvalFault, Verdict
from forklock.evals.reports.page import MOST_LINES, render_page
from forklock.evals.results import EvalResult
from forklock.evals.runs.past import PastRun

pytest.importorskip("matplotlib", reason="the `evals` extra is not installed")

HOSTILE = (
    "</pre><script>alert('{index}')</script><img src=x onerror=alert(1)>{% raw %}{{ 7 * 7 }}\x00\u202e\n"
)
VOID = {"meta", "br", "img", "link", "input", "path", "use", "stop", "rect"}


class Tags(HTMLParser):
    """Counts elements and attributes, and checks that they nest."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def parsed(text: str) -> Tags:
    tags = Tags()
    tags.feed(text)
    tags.close()
    assert tags.open == []
    return tags


def past(*results: EvalResult) -> list[PastRun]:
    return [PastRun(result, result.folder) for result in results]


def test_two_runs_side_by_side(tmp_path: Path) -> None:
    a = made_up_run(tmp_path, random_rows(30, 4, 0.0, 1))
    b = made_up_run(
        tmp_path, random_rows(30, 4, 0.2, 2), adapter="coder/v1", code="def solve(x):\n    return 7\n"
    )
    text = render_page(past(a, b), cutoff=date(2024, 6, 15), flips=5)
    assert text.count("<svg") == 4 and text.count('<div class="pair">') == 5
    assert "return 7" in text and "return x + " in text
    for words in (
        "pass@1 by month",
        "training cutoff 2024-06-15",
        "p, Holm",
        "adapter (none → coder/v1)",
        b.run_id,
    ):
        assert words in text
    tags = parsed(text)
    assert len(tags.ids) == len(set(tags.ids)), "ids of two plots collide"
    assert render_page(past(a, b), cutoff=date(2024, 6, 15), flips=5) == text


def test_nothing_is_loaded_and_nothing_runs(tmp_path: Path) -> None:
    run = made_up_run(tmp_path, random_rows(12, 2, 0.0, 1))
    tags = parsed(render_page(past(run)))
    assert not {"script", "link", "img", "image", "iframe", "object", "base", "form"} & set(tags.names)
    loads = [(name, value) for name, value in tags.attributes if name in {"src", "href", "xlink:href"}]
    assert all(value.startswith("#") for _, value in loads)
    assert not any(name.startswith("on") for name, _ in tags.attributes)
    assert any("default-src 'none'" in value for _, value in tags.attributes)


def test_hostile_words_stay_words(tmp_path: Path) -> None:
    """In programs, names of models, problems and difficulties; `$` is no formula in a plot."""
    bad = '<script>alert(1)</script> $\\frac{1}$ ]]> &amp; " onload="x'
    a = made_up_run(tmp_path, rows([1, 0, 1], 1), code=HOSTILE, prefix=bad, difficulties=(bad, "easy"))
    b = made_up_run(tmp_path, rows([0, 0, 0], 1), code=HOSTILE, model=bad, prefix=bad,
                    difficulties=(bad, "easy"))  # fmt: skip
    tags = parsed(text := render_page(past(a, b), cutoff=date(2024, 2, 1)))
    assert "script" not in tags.names and "img" not in tags.names
    assert not any(name.startswith("on") for name, _ in tags.attributes)
    assert "&lt;script&gt;" in text and "{{ 7 * 7 }}" in text and not re.search(r"<script", text)


def test_long_programs_are_cut(tmp_path: Path) -> None:
    a = made_up_run(tmp_path, rows([1], 1), code="x = 1\n" * 5000)
    b = made_up_run(tmp_path, rows([0], 1, Verdict.NO_CODE), model="other")
    text = render_page(past(a, b))
    assert "… cut off" in text and text.count("x = 1") == MOST_LINES


def test_runs_of_all_kinds(tmp_path: Path) -> None:
    """No dates, one sample, different problems, lost stores, three runs: less to show, no failure."""
    a = made_up_run(tmp_path, rows([1], 1), difficulties=("unknown",))
    b = made_up_run(tmp_path, rows([0, 0, 1], 2), seed=1)
    c = made_up_run(tmp_path, [[Verdict.INFRASTRUCTURE]], seed=2)
    parsed(render_page(past(a)))
    parsed(render_page(past(a, b, c), cutoff=date(2030, 1, 1)))
    parsed(render_page(past(c)))
    lost = render_page([PastRun(a, tmp_path / "gone"), PastRun(b, tmp_path / "gone")])
    assert "not where the run was made" in lost
    with pytest.raises(EvalFault, match="27 runs"):
        render_page(past(*[a] * 27))


def test_the_command_writes_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from forklock.evals.commands.main import main

    run = made_up_run(tmp_path, rows([1, 0], 1))

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["evals", "report", str(run.folder), *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        return int(ended.value.code or 0), "".join(capfd.readouterr())

    assert call("--html", tmp_path / "page.html")[0] == 0
    assert (tmp_path / "page.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert call("--html", tmp_path / "none" / "page.html")[0] == 2
    code, said = call("--html", tmp_path / "page.html", "--cutoff", "soon")
    assert code == 2 and "YYYY-MM-DD" in said
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    code, said = call("--html", tmp_path / "page.html")
    assert code == 2 and "[evals]" in said
