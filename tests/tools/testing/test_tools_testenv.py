"""Tests get one environment, whoever names their command; launchers are seen through."""

from __future__ import annotations

from pathlib import Path

import pytest

from forklock.sandbox import BackendName, Sandbox, open_sandbox, workspace_policy
from forklock.sandbox.backends.bubblewrap import backend as bubblewrap
from forklock.tools.contract import TestStatus, ToolFault
from forklock.tools.testing.command import detect_test_command, parse_command
from forklock.tools.testing.environment import command_environment, import_roots
from forklock.tools.testing.launchers import without_launcher
from forklock.tools.testing.run import run_tests

TEST = "import subprocess, sys\nfrom {name} import ANSWER\n\n\ndef test_answer():\n    assert ANSWER == 42\n"
CHILD = """

def test_a_child_elsewhere(tmp_path):
    subprocess.run([sys.executable, "-c", "import {name}"], cwd=tmp_path, check=True)
"""


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.fixture(params=["bubblewrap", "host"])
def backend(request: pytest.FixtureRequest) -> BackendName:
    if request.param == "bubblewrap" and bubblewrap.why_not():
        pytest.skip("BUBBLEWRAP IS NOT HERE")
    return request.param


def opened(root: Path, backend: BackendName) -> Sandbox:
    return open_sandbox(root, workspace_policy(root), backend=backend)


LAYOUTS = {
    "package": {"src/thing/__init__.py": "ANSWER = 42\n"},
    "module": {"src/thing.py": "ANSWER = 42\n"},
    "namespace": {"src/thing/part.py": "ANSWER = 42\n"},
    "pytest is told": {
        "src/thing/__init__.py": "ANSWER = 42\n", "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["src"]\n',
    },
}  # fmt: skip


COMMANDS = ["python -m pytest -q", "pytest -q tests", "python -m unittest -q tests.test_it", None]


@pytest.mark.parametrize(
    ("layout", "command"),
    [
        # Fast: one layout with every command, and every layout with one command.
        pytest.param(layout, command, marks=[] if layout == "package" or number == 0 else pytest.mark.slow)
        for layout in LAYOUTS
        for number, command in enumerate(COMMANDS)
    ],
)
def test_a_src_layout_needs_no_words(
    layout: str, command: str | None, backend: BackendName, tmp_path: Path
) -> None:
    """Not installed anywhere: the user's command and the guess find it alike, in children that went elsewhere too."""
    name = "thing.part" if layout == "namespace" else "thing"
    test = TEST.format(name=name) + CHILD.format(name=name)
    if command and "unittest" in command:
        test = (
            f"import unittest\nfrom {name} import ANSWER\n"
            "class T(unittest.TestCase):\n    def test(self): assert ANSWER == 42\n"
        )
    root = write(tmp_path / "r", {**LAYOUTS[layout], "tests/test_it.py": test, "tests/__init__.py": ""})
    asked = command or detect_test_command(root)
    assert asked
    with opened(root, backend) as sandbox, sandbox.fork() as fork:
        report = run_tests(fork, asked)
        assert report.status is TestStatus.PASSED, report.output
        source = next(file for file in (fork.root / "src").rglob("*.py"))
        source.write_text("ANSWER = 41\n")
        assert run_tests(fork, asked).status is TestStatus.FAILED, "it is the copy's code that is tested"


def test_the_users_own_path_is_the_last_word(tmp_path: Path) -> None:
    root = write(tmp_path / "r", {"src/a.py": ""})
    with opened(root, "host") as sandbox:
        assert command_environment(sandbox, {"PYTHONPATH": "x"})["PYTHONPATH"] == "x"
        assert command_environment(sandbox, {})["PYTHONPATH"] == f"{root}/src:{root}"


def test_import_roots(tmp_path: Path) -> None:
    root = write(tmp_path, {"packages/a/src/a/__init__.py": "", "packages/b/b.py": "", "src/top.py": ""})
    assert import_roots(root) == ["src", "."]
    assert import_roots(root, "packages/a") == ["packages/a/src", "packages/a", "src", "."]
    assert import_roots(root, "packages/b") == ["src", "."]
    (root / "src" / "__init__.py").write_text("")
    assert import_roots(root) == [], "a package called src is imported by that name"


@pytest.mark.parametrize("target", ["/", "/etc", "..", "src", "/proc/self/root"])
def test_a_source_folder_elsewhere_is_none(tmp_path: Path, target: str) -> None:
    (tmp_path / "src").symlink_to(target)
    assert import_roots(tmp_path) == []


def test_a_folder_of_our_name_is_the_repos(backend: BackendName, tmp_path: Path) -> None:
    """`tools/`, `agent/` and the like are common names of folders in a repo, and of ours."""
    files = {f"{name}/own.py": "" for name in ("tools", "agent", "models", "evals", "sandbox")}
    imports = "".join(f"import {name}.own\n" for name in ("tools", "agent", "models", "evals", "sandbox"))
    root = write(tmp_path / "r", {**files, "tests/test_it.py": f"{imports}def test_it(): pass\n"})
    with opened(root, backend) as sandbox:
        report = run_tests(sandbox, "python -m pytest -q")
        assert report.status is TestStatus.PASSED, report.output
        seen = sandbox.exec(["python", "-P", "-c", "import tools"])
        assert not seen.ok, "ours is not there at all"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("uv run pytest -q", "pytest -q"),
        ("uv run --frozen --extra dev -- python -m pytest", "python -m pytest"),
        ("uv run -m pytest tests", "python -m pytest tests"),
        ("uv run --with pytest --python 3.12 pytest tests/x.py", "pytest tests/x.py"),
        ("poetry run pytest -k 'a b'", "pytest -k 'a b'"),
        ("poetry -C . run python -m pytest", "python -m pytest"),
        ("pipenv run python -m unittest", "python -m unittest"),
        ("pdm run pytest", "pytest"),
        ("hatch run pytest", "pytest"),
        ("hatch -e py run python -m pytest", "python -m pytest"),
        ("hatch test tests/a.py", "python -m pytest tests/a.py"),
        ("rye run pytest", "pytest"),
        ("conda run -n env pytest", "pytest"),
        ("A=1 uv run poetry run pytest", "pytest"),
        ("pytest run", "pytest run"),
        ("npm run test", "npm run test"),
    ],
)
def test_launchers_are_seen_through(command: str, words: str) -> None:
    assert parse_command(command).argv == parse_command(words).argv


@pytest.mark.parametrize(
    "command", ["tox", "tox -e py311", "nox -s tests", "uv run", "hatch run test:unit", "uv run tox"]
)
def test_launchers_that_cannot_run_say_what_to_give(command: str) -> None:
    with pytest.raises(ToolFault) as told:
        without_launcher(command.split())
    assert "cannot run in the sandbox" in told.value.message and "--test" in told.value.fix
