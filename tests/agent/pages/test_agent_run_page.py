"""The page of a run: whole, alone, and deaf to what models and repositories write."""

from __future__ import annotations

import json
import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest
from ran import agent, fenced, solved
from shop import RIGHT, WRONG

from forklock.agent.log import (
    CandidateRuled,
    MessageRef,
    ModelAnswered,
    ModelAsked,
    RunLog,
    RunStarted,
    StepEnded,
    StepStarted,
)
from forklock.agent.pages.run_page import render_run

EVIL = (
    "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\"'><a href='javascript:x'>"
    "\x1b]52;c;x\x07\u202e{{ 7*7 }}"
)


class Tags(HTMLParser):
    """Collects the tags and the ids of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.odd: list[tuple[str, str | None]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            elif name == "href":
                self.links.append(value or "")
            elif name.startswith("on") or name in ("src", "action", "srcset"):
                self.odd.append((name, value))


def made_up(folder: Path, width: int, *, text: str = "x", steps: int = 1) -> RunLog:
    log = RunLog(folder)
    log.open_for_append()
    log.append(RunStarted(run_id="r", task=text, repo=text, base_commit=None, test_command=text,
                          regression_command=None, options={"limits": {"steps": text}}, model=text))  # fmt: skip
    tokens = json.dumps([[text, -0.01], [text, -9.0]])
    for step in range(1, steps + 1):
        log.append(StepStarted(step=step, requests=width, samples=width))
        for index in range(width):
            one = {"step": step, "request": index, "digest": "d", "prompt_tokens": 1}
            content = MessageRef(role=text, content=log.store(text * 50))
            log.append(ModelAsked(**one, place=text, messages=[content], prefill=text, decoding={"n": 1}))
            log.append(
                ModelAnswered(
                    **one,
                    sample=0,
                    text=text,
                    finish_reason=text,
                    completion_tokens=2,
                    seconds=1.0,
                    tokens=tokens,
                )
            )
            log.append(
                CandidateRuled(
                    step=step, index=index, place=text, hop="tests" if index else text, reason=text, diff=text,
                    new_diagnostics=0, tests_passed=1, tests_failed=1, broken=0, seconds=1.0,
                )
            )  # fmt: skip
        log.append(StepEnded(step=step, best=1, advanced=True))
    log.close()
    return log


def test_a_page_shows_all_of_a_run(repo: Path, tmp_path: Path) -> None:
    solved(repo, "no code", fenced(WRONG.format(n=1)), fenced(RIGHT), width=4)
    target = tmp_path / "page.html"
    done = agent("show", "last", "--html", str(target), cwd=repo)
    assert done.code == 0 and str(target) in done.words
    page = target.read_text()
    assert agent("show", "--html", cwd=repo).out == page  # in a pipe
    assert (
        agent("show", "--html", "other.html", cwd=repo).code == 0
        and (repo / "other.html").read_text() == page
    )
    for words in ("total() forgets a price", "the answer held no code", "+    return sum(prices)", "agent apply",
                  "test_total: ", "You are an expert programmer"):  # fmt: skip
        assert words in page, words
    found = Tags(page)
    anchors = [link.removeprefix("#") for link in found.links]
    assert anchors and set(anchors) <= set(found.ids) and len(set(found.ids)) == len(found.ids)


@pytest.mark.hostile("state")
def test_foreign_text_is_only_text(tmp_path: Path) -> None:
    page = render_run(made_up(tmp_path / "run", 3, text=EVIL))
    found = Tags(page)
    assert not found.tags & {"script", "img", "iframe", "object", "link", "form", "base"} and not found.odd
    assert all(link.startswith("#") for link in found.links)
    assert "default-src 'none'" in page and "7*7" in page and "49" not in re.findall(r">(49)<", page)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]", page)


def test_a_run_that_is_not_over_and_lost_texts(tmp_path: Path) -> None:
    log = made_up(tmp_path / "run", 2, text="word " * 400)
    for blob in (tmp_path / "run" / "blobs").iterdir():
        blob.unlink()
    page = render_run(log)
    assert "agent solve --resume" in page and "which is gone" in page


def test_thousands_of_candidates_make_a_page_that_can_be_opened(tmp_path: Path) -> None:
    log = made_up(tmp_path / "run", 1000, text="some words of an answer\n" * 30, steps=2)
    began = time.process_time()
    page = render_run(log)
    assert len(page) < 25_000_000 and time.process_time() - began < 20
    assert page.count('<details class="cand') == 2000 and "The page is full" in page


def test_a_file_that_cannot_be_written_is_an_error_with_a_way_out(repo: Path) -> None:
    solved(repo)
    done = agent("show", "last", "--html", "no/such/folder/x.html", cwd=repo)
    assert done.code == 2 and "cannot write" in done.words and "--html FILE" in done.words
