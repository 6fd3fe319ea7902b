"""What is proposed: removal, slips and their rules in several languages, statements, splits."""

from __future__ import annotations

import difflib
import random
import types
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forklock.selfdistill.tasks.contract import Bug, Ground, RepairTask, TaskFault
from forklock.selfdistill.tasks.kinds.history import in_words
from forklock.selfdistill.tasks.kinds.kind import Defined, Work
from forklock.selfdistill.tasks.kinds.known import KINDS, chosen_kinds
from forklock.selfdistill.tasks.kinds.mutation import apart, mutated, shuffled, slips_of
from forklock.selfdistill.tasks.kinds.removal import without_body
from forklock.selfdistill.tasks.kinds.rules import RULES
from forklock.selfdistill.tasks.splits import draw, not_in_one_split
from forklock.selfdistill.tasks.statement import repair_lines, statement, without_repair
from forklock.tools.contract import TestFailure
from forklock.tools.languages.known import check_syntax, language_of, symbols

PYTHON = '''class Till:
    @property
    def total(self):
        """Sum it.

        All of it.
        """
        found = 0
        for price in self.prices:
            if price >= 10 and not self.closed:
                continue
            found += max(price, 1)
        return found
'''
GO = """package till

// Total sums.
func Total(prices []int, most int) int {
	found := 0
	for _, price := range prices {
		if price >= most && price != 0 {
			continue
		}
		found += max(price, 1)
	}
	return found
}
"""
SCRIPT = """/** Sums. */
export function total(prices, most) {
  let found = 0;
  for (const price of prices) {
    if (price >= most && !closed) {
      continue;
    }
    found += Math.max(price, 1);
  }
  return found;
}
"""
RUBY = """class Till
  # Sums.
  def total(prices, most)
    found = 0
    prices.each do |price|
      next if price >= most
      found += [price, 1].max
    end
    found
  end
end
"""
RUST = """/// Sums.
pub fn total(prices: &[i64], most: i64) -> i64 {
    let mut found = 0;
    for price in prices {
        if *price >= most && *price != 0 {
            continue;
        }
        found += (*price).max(1);
    }
    found
}
"""
C = """int total(const int *prices, int count) {
    int found = 0;
    for (int n = 0; n < count; n++) {
        if (prices[n] >= 10 && prices[n] != 0) {
            continue;
        }
        found += larger(prices[n], 1);
    }
    return found;
}
"""
SAMPLES = {
    "till.py": PYTHON,
    "till.go": GO,
    "till.ts": SCRIPT,
    "till.js": SCRIPT,
    "till.rb": RUBY,
    "till.rs": RUST,
    "till.c": C,
}


def defined(path: str, text: str) -> Defined:
    symbol = next(s for s in symbols(path, text) if s.kind in ("function", "method"))
    return Defined(f"{path}:{symbol.name_path}", symbol, text)


@pytest.mark.parametrize("path", SAMPLES)
def test_a_removed_body_leaves_header_and_docs_and_parses(path: str) -> None:
    text = SAMPLES[path]
    one = defined(path, text)
    removed = without_body(one)
    assert removed is not None and check_syntax(path, removed) is None, removed
    assert "found" not in removed and one.language.unwritten in removed
    assert "sum" in removed.lower() or path.endswith(".c")
    assert len(symbols(path, removed)) == len(symbols(path, text))


@pytest.mark.parametrize("path", SAMPLES)
def test_slips_are_found_in_each_language_and_most_parse(path: str) -> None:
    one = defined(path, SAMPLES[path])
    slips = slips_of(one)
    rules = {slip.rule for slip in slips}
    assert {"comparison", "off by one"} <= rules, rules
    assert len(rules) >= 4, rules
    texts = [mutated(one.text, [slip]) for slip in slips]
    good = [text for text in texts if check_syntax(path, text) is None]
    assert len(good) >= 0.8 * len(texts), set(texts) - set(good)
    words = language_of(path).program_words
    assert all(words(text) != words(one.text) for text in good)


def test_each_rule_finds_its_slip() -> None:
    text = (
        "def f(a, b, c):\n    if not a == 1:\n        return True\n    if a and b:\n        g(a, b)\n"
        "    c = a + b\n    return c\n"
    )
    found = {slip.rule: mutated(text, [slip]) for slip in reversed(slips_of(defined("x.py", text)))}
    assert set(found) == {rule.name for rule in RULES}
    assert (
        "if not a != 1" in found["comparison"]
        and "a or b" in found["connective"]
        and "a - b" in found["arithmetic"]
    )
    assert "== 2" in found["off by one"] and "return False" in found["wrong constant"]
    assert "if a == 1" in found["lost negation"] and "g(b, a)" in found["swapped arguments"]
    assert "if not (not a == 1)" in found["negated condition"]
    assert "if a and b" not in found["dropped branch"] or "not a" not in found["dropped branch"]


def test_only_the_function_itself_changes_and_names_outside_ascii_count_right() -> None:
    text = "ä = 1 == 2\n\ndef f(ä, ö):\n    return 'ß', ä == ö, 5\n\ndef g(x):\n    return x == 1\n"
    for slip in slips_of(defined("x.py", text)):
        made = mutated(text, [slip])
        assert made.startswith("ä = 1 == 2\n") and made.endswith("def g(x):\n    return x == 1\n")
        assert "'ß'" in made or slip.rule == "dropped statement"


@given(st.integers(0, 10_000))
def test_several_slips_do_not_overlap(seed: int) -> None:
    slips = shuffled(slips_of(defined("till.py", PYTHON)), random.Random(seed))
    chosen = apart(slips[:4])
    assert all(one.end <= other.start for one, other in pairwise(chosen))


def test_kinds_are_named() -> None:
    assert [kind.name for kind in chosen_kinds("")] == list(KINDS)
    assert [kind.name for kind in chosen_kinds("removal, pairs")] == ["removal", "pairs"]
    with pytest.raises(TaskFault, match="no kind 'typo'"):
        chosen_kinds("removal,typo")


def test_pairs_join_two_functions_of_one_split(tmp_path: Path) -> None:
    text = "def f():\n    return 1\n\n\ndef g():\n    return 2\n"
    (tmp_path / "x.py").write_text(text)
    work = Work(tmp_path, tmp_path, ground(["x.py:f", "x.py:g"]))
    work.valid = [
        task("a", "x.py:f", text, "1", "5"),
        task("b", "x.py:g", text, "2", "6"),
        task("c", "x.py:f", text, "1", "7"),
    ]
    (bug,) = KINDS["pairs"].propose(work)
    assert "return 6" in bug.files["x.py"] and (
        "return 5" in bug.files["x.py"] or "return 7" in bug.files["x.py"]
    )
    assert set(bug.places) == {"x.py:f", "x.py:g"}
    work.valid = [
        one.model_copy(update={"split": "test"}) if one.task_id == "b" else one for one in work.valid
    ]
    assert not list(KINDS["pairs"].propose(work)), "a pair is of one split"


def task(name: str, place: str, text: str, old: str, new: str) -> RepairTask:
    lines, after = text.split("\n"), text.replace(f"return {old}", f"return {new}").split("\n")
    bug = "\n".join(difflib.unified_diff(lines, after, "a/x.py", "b/x.py", lineterm=""))
    return RepairTask(
        task_id=name, kind="mutation", ground="d", base_commit="c", split="practice", places=(place,), statement="",
        bug=bug, fix="", command="t", fail_to_pass=(name,), pass_to_pass=(), test_files=(),
    )  # fmt: skip


# -- statements -----------------------------------------------------------------------------------------------------

FIX = """diff --git a/x.py b/x.py
--- a/x.py
+++ b/x.py
@@ -1,2 +1,2 @@
 def total(prices):
-    return sum(prices) + 1
+    return sum(prices) - 2
"""


def test_a_statement_tells_the_failure_and_hides_the_repair() -> None:
    failure = TestFailure("tests/test_x.py::test_total_of_many[a-1]", "assert 4 == 1\nreturn sum(prices) - 2")
    bug = Bug("mutation", {"x.py": ""}, ("x.py:total",), "off by one")
    text = statement(bug, [failure, failure], [""], FIX)
    assert "total of many" in text and "assert 4 == 1" in text and "One other test fails, too." in text
    assert "- 2" not in text
    assert repair_lines(FIX) == ["return sum(prices) - 2"]
    assert without_repair("before\n  use return   sum(prices) - 2 here\nafter", FIX) == "before\nafter"


def test_kinds_open_their_statements() -> None:
    failure = TestFailure("t.py::test_a", "boom")
    removal = Bug("removal", {"x.py": ""}, ("x.py:C.total",), "removal")
    assert statement(removal, [failure], ["Sum it.\n\nMore."], "").startswith(
        "`C.total` in `x.py` is not implemented"
    )
    assert "Sum it." in statement(removal, [failure], ["Sum it.\n\nMore."], "")
    history = Bug("history", {"x.py": ""}, ("x.py:total",), "commit 1", message="Do not count twice")
    assert "Do not count twice" in statement(history, [failure], [""], "")


def test_a_message_loses_trailers_and_references() -> None:
    raw = "Cut long labels (fixes #12)\n\nSee https://example.org/x for why.\n\nSigned-off-by: a <b@c>\n"
    assert in_words(raw) == "Cut long labels\n\nSee for why."


# -- splits ---------------------------------------------------------------------------------------------------------


def ground(labels: list[str]) -> Ground:
    return Ground(digest="d", commit="c", command="t", tests=("t",), excluded={}, frozen=(), traced=True,
                  reach=dict.fromkeys(labels, (0,)), split={}, seconds=1.0)  # fmt: skip


@given(st.integers(0, 50), st.integers(5, 12))
def test_files_are_whole_in_one_split(seed: int, files: int) -> None:
    labels = [f"f{n}.py:C{m}.go" for n in range(files) for m in range(4)]
    drawn = draw(ground(labels), [], seed=seed)
    assert drawn.split == draw(ground(list(reversed(labels))), [], seed=seed).split, "the order is nothing"
    by_file = {label.partition(":")[0]: set() for label in labels}
    for label, name in drawn.split.items():
        by_file[label.partition(":")[0]].add(name)
    assert all(len(names) == 1 for names in by_file.values())
    assert set(drawn.split.values()) == {"practice", "development", "test"}


def test_what_changed_last_is_held_out_and_later_repairs_of_the_rest_are_dropped() -> None:
    labels = [f"f{n}.py:g{m}" for n in range(10) for m in range(4)]
    late = Bug("history", {}, ("f3.py:g0",), "commit", when=200.0)
    later = Bug("history", {}, ("f4.py:g0",), "commit", when=300.0)
    drawn = draw(ground(labels), [late, later], seed=1)
    assert drawn.split["f4.py:g0"] == "test" and drawn.cutoff == 300.0
    assert not_in_one_split(later, drawn) == ""
    practice = next(label for label, name in drawn.split.items() if name == "practice")
    assert "cut-off" in not_in_one_split(Bug("history", {}, (practice,), "c", when=400.0), drawn)
    assert not_in_one_split(Bug("history", {}, (practice,), "c", when=100.0), drawn) == ""
    assert not_in_one_split(Bug("pairs", {}, (practice, "f4.py:g1"), "c"), drawn) == "spans two splits"
    assert not_in_one_split(Bug("removal", {}, ("f0.py:unknown",), "c"), drawn) == "no test reaches it"


def test_few_files_are_split_by_definition(tmp_path: Path) -> None:
    labels = [f"one.py:C{n}.{name}" for n in range(10) for name in ("a", "b")]
    drawn = draw(ground(labels), [], seed=0)
    assert all(drawn.split[f"one.py:C{n}.a"] == drawn.split[f"one.py:C{n}.b"] for n in range(10))
    assert set(drawn.split.values()) == {"practice", "development", "test"}


def test_a_limit_takes_from_all_files(tmp_path: Path) -> None:
    labels = []
    for name in "abcd":
        (tmp_path / f"{name}.py").write_text("".join(f"def f{n}():\n    return {n}\n\n\n" for n in range(8)))
        labels += [f"{name}.py:f{n}" for n in range(8)]
    first = [one.symbol.path for one in Work(tmp_path, tmp_path, ground(labels)).definitions()][:12]
    assert len(set(first)) > 2
    assert (
        first
        == [one.symbol.path for one in Work(tmp_path, tmp_path, ground(labels[::-1])).definitions()][:12]
    )


# -- the page -------------------------------------------------------------------------------------------------------


def test_the_kind_of_the_page_works(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs" / "practice.md").read_text()
    code = page.partition("## How to add a kind")[2].partition("```python\n")[2].partition("```")[0]
    made = types.ModuleType("empty")
    exec(compile(code, "empty.py", "exec"), made.__dict__)
    (tmp_path / "x.py").write_text(
        "def f(a):\n    b = a\n    c = b\n    return c\n\n\ndef g():\n    return 1\n"
    )
    bugs = list(made.KIND.propose(Work(tmp_path, tmp_path, ground(["x.py:f", "x.py:g"]))))
    assert [bug.files["x.py"].startswith("def f(a):\n    b = a\n    c = b\n\n\ndef g") for bug in bugs] == [
        True
    ]
