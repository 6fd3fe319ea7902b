"""Runs on repositories in languages with braces: a scripted model, a real sandbox, the real test runners."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from braces import GO, JAVASCRIPT, RUBY, Sample
from hypothesis import given
from hypothesis import strategies as st
from questions import asked
from scripted import Script, ScriptedEngine, begin

from forklock.agent.asking.openings import function_header, openings
from forklock.agent.asking.protocol import Protocol
from forklock.agent.asking.splice import splice
from forklock.agent.asking.ways.gap import hole
from forklock.agent.contract import Hop, Outcome, Place
from forklock.agent.judging.hops import program_key
from forklock.agent.log import CandidateRuled, PlacesRanked, RunLog
from forklock.agent.loop import Report
from forklock.agent.repo import apply_diff
from forklock.agent.session import execute
from forklock.sandbox import SandboxUnavailable
from forklock.tools.contract import Symbol
from forklock.tools.edits.apply import AppliedEdit
from forklock.tools.languages.known import language_of


def needs(program: str, *words: str) -> pytest.MarkDecorator:
    there = shutil.which(program) is not None
    there = there and subprocess.run([program, *words], capture_output=True, check=False).returncode == 0
    return pytest.mark.skipif(
        not there, reason=f"{program} DOES NOT RUN HERE: runs in its language were not tested"
    )


CODE = {
    ".ts": """\
/** Sum. */
total(rate: number): number {
  let sum = 0;
  for (const item of this.items) {
    sum += item;
  }
  return sum;
}
""",
    ".go": """\
// Total is the sum.
func (c *Cart) Total(rate int) int {
\tsum := 0
\tfor _, item := range c.items {
\t\tsum += item
\t}
\treturn sum
}
""",
    ".rs": """\
/// Sum.
pub fn total(&self, rate: i32) -> i32 {
    let mut sum = 0;
    for item in self.items.iter() {
        sum += item;
    }
    sum
}
""",
    ".c": """\
/* Sum. */
static int total(const struct cart *c, int rate)
{
    int sum = 0;
    for (int i = 0; i < c->count; i++) {
        sum += c->items[i];
    }
    return sum;
}
""",
}
SUFFIXES = list(CODE)
each = pytest.mark.parametrize("suffix", SUFFIXES)


def begun(suffix: str, at: str) -> str:
    """The beginning of the code up to the statement that starts with `at`."""
    code = CODE[suffix]
    return next(
        o for o in openings(code, language_of(f"a{suffix}")) if code[len(o) :].lstrip().startswith(at)
    )


@each
def test_a_function_begins_with_its_comment_and_its_head(suffix: str) -> None:
    language, code = language_of(f"a{suffix}"), CODE[suffix]
    header = function_header(code, language)
    assert code.startswith(header) and header.rstrip().endswith("{")
    assert len(openings(code, language)) == 4  # so many statements, the loop's own among them
    assert all(code.startswith(one) for one in openings(code, language))


@each
def test_one_statement_is_replaced_and_the_rest_stays(suffix: str) -> None:
    language = language_of(f"a{suffix}")
    answer = " sum += 2;\n nonsense {{{\n"
    made = splice(CODE[suffix], begun(suffix, "sum +="), answer, language)
    assert made is not None and "sum += 2;" in made
    old, new = CODE[suffix].split("\n"), made.split("\n")
    assert [n for n, (a, b) in enumerate(zip(old, new, strict=True)) if a != b] == [
        n for n, line in enumerate(old) if "sum +=" in line
    ]


@each
def test_a_loop_s_header_takes_the_place_of_a_header(suffix: str) -> None:
    language = language_of(f"a{suffix}")
    old = next(line for line in CODE[suffix].split("\n") if "for" in line).strip()
    new = old.replace("items", "others").replace("count", "others")
    made = splice(CODE[suffix], begun(suffix, "for"), f" {new}\n", language)
    assert made == CODE[suffix].replace(old, new)


@each
def test_what_a_model_writes_on_ends_with_the_function(suffix: str) -> None:
    language, code = language_of(f"a{suffix}"), CODE[suffix]
    opening = openings(code, language)[0]
    rest = code[len(opening) :]
    assert language.continued(opening, rest + "\nint other() {\n}\n") == code
    (stop,) = language.stops("  ")
    assert stop == "\n  }"
    assert language.continued(opening, rest[: rest.index("\n}")]) == code  # the stop is not in the answer


@each
@given(answer=st.text(alphabet="abc =()[]{};\n \t'\"if/*", max_size=60), turn=st.integers(0, 3))
def test_a_spliced_function_parses_and_is_another(suffix: str, answer: str, turn: int) -> None:
    language, code = language_of(f"a{suffix}"), CODE[suffix]
    opening = hole(code, turn, language)
    assert opening is not None
    made = splice(code, opening, answer, language)
    if made is not None:
        found = language.shape(made)
        assert found is not None and made.startswith(opening)
        assert found.words != language.shape(code).words  # type: ignore[union-attr]


def test_layout_and_comments_make_no_other_program() -> None:
    before = "function f() {\n  return 1; // one\n}\n"
    same = AppliedEdit("a.js", before, "function f() { /* 1 */\n\n    return 1;\n}\n")
    other = AppliedEdit("a.js", before, "function f() {\n  return 2;\n}\n")
    plain = AppliedEdit("a.js", before, before)
    assert program_key([same]) == program_key([plain]) != program_key([other])


def test_questions_and_answers_are_in_the_language_s_words() -> None:
    place = Place("src/cart.ts", Symbol("src/cart.ts", "Cart.total", "method", 1, 8))
    protocol = Protocol("symbol")
    for way in ("rewrite", "correct", "repair"):
        assert "```typescript block" in asked(way, place=place, code=CODE[".ts"]).messages[-1].content
    assert asked("repair", place=place, code=CODE[".ts"]).prefill == "```typescript\n// What was wrong:"
    assert asked("rewrite", place=place, code=CODE[".ts"]).prefill.endswith("): number {\n ")
    answer = " the sum\n// more\ntotal(rate: number): number {\n  return 1;\n}\n```\n"
    action = protocol.parse(answer, place, prefill="```typescript\n// What was wrong:", finished=True)
    assert action.edits[0].source.startswith("total(rate")  # type: ignore[union-attr]


# --- whole runs ----------------------------------------------------------------------------------------


def solve(
    repo: Path, sample: Sample, script: Script, **flags: object
) -> tuple[Report, RunLog, ScriptedEngine]:
    engine = ScriptedEngine(script)
    engine.supports_prefill = bool(flags.pop("prefill", False))
    given = {"width": 4, "sandbox": "bubblewrap", **flags}
    prepared = begin(repo, engine, sample.test, statement="the total forgets a price", **given)
    try:
        return execute(prepared, engine), prepared.log, engine
    except SandboxUnavailable as reason:
        pytest.skip(f"BUBBLEWRAP IS NOT HERE, runs in other languages were not tested: {reason}")


def fenced(sample: Sample, code: str) -> str:
    return f"```{sample.language}\n{code}```"


samples = pytest.mark.parametrize(
    "sample",
    [
        pytest.param(JAVASCRIPT, marks=needs("node", "--version"), id="javascript"),
        pytest.param(GO, marks=needs("go", "version"), id="go"),
        pytest.param(RUBY, marks=needs("ruby", "-rminitest", "-e", ""), id="ruby"),
    ],
)


@samples
@pytest.mark.timeout(300)
def test_a_right_candidate_among_wrong_ones_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Sample
) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    repo = sample.write(tmp_path / "repo")
    answers = ["no code", fenced(sample, sample.broken), fenced(sample, sample.wrong.replace("{n}", "7"))]
    answers.append(fenced(sample, sample.right))
    report, log, engine = solve(
        repo, sample, lambda _r, i: answers[i % 4], width=8, styles=["rewrite", "repair"]
    )
    assert report.outcome is Outcome.SOLVED, [log.text(e.reason) for e in rulings(log)]
    assert {Hop(e.hop) for e in rulings(log)} <= {Hop.TESTS, Hop.PARSE, Hop.EDIT, Hop.SOLVED, Hop.DUPLICATE}
    assert any(e.hop == "edit" and "does not parse" in log.text(e.reason) for e in rulings(log))
    ranked = next(e for e in log.read().events if isinstance(e, PlacesRanked))
    assert ranked.places[0]["name_path"] in {"Cart.total", "Cart.Total"}
    asked = engine.requests[0].messages[-1].content
    assert f"```{sample.language}\n" in asked and "```python" not in asked
    assert "to be written" in asked and "The failing check" in asked  # the test's own source
    apply_diff(repo, report.diff)
    changed = next(name for name in sample.files if "cart." in name)
    before, after = sample.files[changed], (repo / changed).read_text()
    assert after == before.replace(sample.fault, "")  # comments, export and tabs as they were


@samples
@pytest.mark.timeout(300)
def test_an_answer_s_first_statement_is_tried_in_the_code_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sample: Sample
) -> None:
    """The answer goes on from the opening; only its first statement is right."""
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    repo = sample.write(tmp_path / "repo")
    loop = next(line for line in sample.right.split("\n") if "for" in line).strip()

    def script(request: object, _number: int) -> str:
        prefill = getattr(request, "prefill", "")
        return f"{loop}\n nonsense\n" if "sum" in prefill else "let nothing;\n"

    report, log, _ = solve(repo, sample, script, prefill=True, styles=["ending"], width=8, steps=1)
    assert report.outcome is Outcome.SOLVED, [log.text(e.reason) for e in rulings(log)]


def rulings(log: RunLog) -> list[CandidateRuled]:
    return [event for event in log.read().events if isinstance(event, CandidateRuled)]
