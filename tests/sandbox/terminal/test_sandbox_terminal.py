"""Foreign text on the terminal: whatever it holds is drawn, and does nothing; in a pipe nothing is wrapped or cut."""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import subprocess
import sys
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Group, RenderableType
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from forklock.sandbox.terminal import (
    escape,
    guard,
    is_drawn,
    printable,
    row,
    say,
    say_fault,
    say_json,
    say_verbatim,
    screen,
    words_column,
)  # fmt: skip
from forklock.sandbox.terminal.console import Screen

ROOT = Path(__file__).parents[3]
ROOMS = ("agent", "tools", "selfdistill", "sandbox", "evals", "models")
PIECES = [
    "\x1b[31m", "\x1b]52;c;QUFB\x07", "\x1b]8;;http://a\x1b\\x\x1b]8;;\x1b\\", "\x1b[2J", "\x1b[1A\x1b[2K", "\x9b31m",
    "\x9d52;c;QQ\x9c", "\x07", "\x08", "\r", "\x7f", "\x00", "\x0e", "\u202e", "\u2066", "\u200b", "\u2028", "\ufeff",
    "\U000e0041", "\ud83d", "\u3164", "[/b]", "[bold]", "[link=http://a]x[/link]", ":smile:", "\\[", "[/", "[]",
    "{task.total}", "é", "日本", "\u3000", "👍🏽", "\n", "\t", "\r\n", "x" * 300,
]  # fmt: skip
FOREIGN = st.lists(st.one_of(st.sampled_from(PIECES), st.characters(), st.text(max_size=5)), max_size=8).map(
    "".join
)


@pytest.mark.hostile("terminal")
@given(FOREIGN)
def test_printable_text_holds_only_what_is_drawn_and_leaves_the_rest_alone(text: str) -> None:
    shown = printable(text)
    assert all(char in "\n\t" or is_drawn(char) for char in shown)
    assert printable(shown) == shown
    line = printable(text, newlines=False)
    assert all(is_drawn(char) for char in line)
    if all(char in "\n\t" or is_drawn(char) for char in text):
        assert shown == text


@pytest.mark.hostile("terminal")
def test_every_character_of_unicode_is_drawn_or_escaped(tried: Callable[[int], None]) -> None:
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    hidden = [
        c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in bad and c not in "\n\t"
    ]
    for char in hidden:
        assert printable(char) == escape(char)
    assert [printable(char) for char in "aé日 \u3000\n\t"] == list("aé日 \u3000\n\t")
    tried(len(hidden))


class _Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def _shown(renderable: RenderableType, monkeypatch: pytest.MonkeyPatch, *, tty: bool) -> str:
    out = _Tty() if tty else io.StringIO()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        patched.setenv("TERM", "xterm-256color")
        patched.setenv("FORCE_COLOR", "1")
        patched.setenv("COLUMNS", "80")
        console: Screen = screen()
        console.print(renderable)
        if tty:
            with console.status(renderable) as status:
                status.update(renderable)
    return out.getvalue()


def _renderables(text: str) -> list[RenderableType]:
    table = Table(text, "n", title=text, caption=text)
    table.add_row(text, Text(text, style="red"))
    table.add_row(Group(text, Text(text)), "1")
    return [text, Text(text, style="bold"), table, Group(text, table), Syntax(text, "diff", word_wrap=True)]


@pytest.mark.hostile("terminal")
def test_no_renderable_passes_foreign_sequences_on(
    monkeypatch: pytest.MonkeyPatch, tried: Callable[[int], None]
) -> None:
    count = 0

    @given(FOREIGN)
    def check(text: str) -> None:
        nonlocal count
        for renderable in _renderables(text):
            piped = _shown(renderable, monkeypatch, tty=False)
            assert all(char in "\n\t" or is_drawn(char) for char in piped), piped
            on_terminal = _shown(renderable, monkeypatch, tty=True)
            own = _without_own(on_terminal)
            assert all(char in "\n\t" or is_drawn(char) for char in own), own
            count += 2

    check()
    tried(count)


def _without_own(text: str) -> str:
    """Text without the sequences that Rich itself makes: colours, the cursor's look, and the spinner's erasing."""
    return re.sub(r"\r?(\x1b\[[0-9;]*m|\x1b\[\?25[lh]|\x1b\[2K|\x1b\[1A)", "", text)


def test_colours_of_foreign_text_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    for renderable in _renderables("a\x1b[38;5;123mb"):
        assert "38;5;123m" in _shown(renderable, monkeypatch, tty=True)
        assert "\x1b[38;5;123m" not in _shown(renderable, monkeypatch, tty=True)


def test_in_a_pipe_rows_are_lines_and_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("run", "task", title="all")
    long = "word " * 400
    table.add_row("20261128-101112-abcdefgh", long.strip())
    table.add_row("x", "two\nlines")
    lines = _shown(table, monkeypatch, tty=False).splitlines()
    assert lines[0] == "all"
    assert lines[1].split() == ["run", "task"]
    assert lines[2] == f"20261128-101112-abcdefgh  {long.strip()}"
    assert lines[3].split() == ["x", "two", "lines"]
    assert _shown(long, monkeypatch, tty=False) == f"{long}\n"
    assert _shown(Syntax("+" + long, "diff"), monkeypatch, tty=False) == f"+{long}\n"


def test_on_a_terminal_ids_are_folded_and_not_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("run", "outcome", "task")
    table.add_row("r" * 60, "solved", "t" * 200)
    shown = _without_own(_shown(table, monkeypatch, tty=True))
    assert shown.count("r") >= 60 and shown.count("t") >= 200 and "…" not in shown


def test_progress_columns_read_no_markup() -> None:
    from rich.progress import Progress

    progress = Progress(words_column("{task.description}"))
    task = progress.add_task("[/b]\x1b[2J", total=1)
    column = words_column("{task.description}")
    assert "[/b]" in str(column.render(progress.tasks[task]))  # type: ignore[attr-defined]


@pytest.mark.hostile("terminal")
@given(FOREIGN, FOREIGN)
def test_json_stays_exact_and_rows_stay_lines(one: str, other: str) -> None:
    out = io.StringIO()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        say_json({"a": one, other: [1.5, None]})
        say_json(json.dumps({"a": one}, ensure_ascii=False))
    whole, again = out.getvalue().splitlines()
    assert json.loads(whole) == json.loads(json.dumps({"a": one, other: [1.5, None]}))
    assert json.loads(again) == {"a": one}
    assert all(" " <= char <= "~" for char in whole + again)
    assert row(one, other).count("\t") == 1 and "\n" not in row(one, other)


def test_a_diff_goes_to_a_pipe_as_it_is(tmp_path: Path) -> None:
    diff = b"-\x1b[31m\r\n+\xff\xe9 \x07\n"
    (tmp_path / "d").write_bytes(diff)
    code = (
        "import sys, pathlib; from forklock.sandbox.terminal import say_verbatim\n"
        "say_verbatim(pathlib.Path(sys.argv[1]).read_bytes().decode('utf-8', 'surrogateescape'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "d"], capture_output=True, check=True, cwd=ROOT
    )
    assert done.stdout == diff
    out = _Tty()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "stdout", out)
        say_verbatim("\x1b[31m")
    assert out.getvalue() == "\\x1b[31m"


@pytest.mark.hostile("terminal")
def test_logs_warnings_tracebacks_and_poor_encodings_are_safe_too() -> None:
    code = (
        "import logging, warnings, threading\n"
        "from forklock.sandbox.terminal import guard, say\n"
        "guard()\n"
        "logging.getLogger('x').warning('a%s', '\\x1b[2J')\n"
        "warnings.warn('b\\x1b[2J')\n"
        "t = threading.Thread(target=lambda: int('c\\x1b[2J'), name='\\x1b[2J'); t.start(); t.join()\n"
        "say('é\\u202e\\ud800')\n"
        "raise KeyError('d\\x1b[2J\\u202e')\n"
    )
    env = {"PYTHONIOENCODING": "ascii", "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd=ROOT, env=env)
    assert b"\x1b" not in done.stderr + done.stdout and done.returncode == 1
    assert done.stdout == rb"\xe9\u202e\ud800" + b"\n"
    assert all(word in done.stderr for word in (rb"a\x1b[2J", rb"b\x1b[2J", rb"c\x1b[2J", rb"d\x1b[2J"))


def test_faults_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    say_fault("a\x1b]0;x\x07[/b]", "b\u202e")
    say("c\rd", err=True)
    assert capsys.readouterr().err == "error: a\\x1b]0;x\\x07[/b]\nfix:   b\\u202e\nc\\x0dd\n"
    assert callable(guard)


def test_a_reader_that_goes_away_ends_a_command_in_silence() -> None:
    code = "from forklock.sandbox.terminal import say\nfor n in range(100000):\n    say('x' * 100)"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout and process.stderr
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 1


# --- nothing else writes ---------------------------------------------------------------------------

_BYPASSES = [
    "print('x')", "from pprint import pprint\npprint(1)", "import sys\nsys.stdout.write('x')",
    "import sys\nsys.stderr.buffer.write(b'x')", "from sys import stdout", "import sys\nsys.__stdout__.write('x')",
    "from rich.console import Console\nConsole().print('x')", "import rich\nrich.print('x')",
    "from rich import print as show\nshow('x')", "from rich.markup import escape", "import typer\ntyper.echo('x')",
    "from typer import secho", "from rich.progress import TextColumn", "from rich.progress import track",
    "from rich.text import Text\nText.from_markup('x')", "from rich.text import Text\nText.from_ansi('x')",
    "import logging\nlogging.basicConfig()", "from rich.status import Status", "from rich.pretty import pprint",
    "from rich.prompt import Prompt", "import rich.console\nrich.console.Console()",
    "from rich.logging import RichHandler",
]  # fmt: skip


@pytest.mark.hostile("terminal")
def test_the_lint_rule_refuses_every_other_way_out(tmp_path: Path, tried: Callable[[int], None]) -> None:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)  # its exceptions are paths relative to its own folder
    names = [f"{room}/made_up_{number}.py" for number in range(len(_BYPASSES)) for room in ROOMS]
    for name, text in zip(names, (text for text in _BYPASSES for _ in ROOMS), strict=True):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    command = [
        sys.executable,
        "-m",
        "ruff",
        "check",
        "--no-cache",
        "--select",
        "T20,TID251",
        "--output-format",
        "json",
    ]
    done = subprocess.run(command, text=True, capture_output=True, check=False, cwd=tmp_path)
    refused = {Path(found["filename"]).relative_to(tmp_path).as_posix() for found in json.loads(done.stdout)}
    assert not set(names) - refused, done.stderr
    tried(len(names))


@pytest.mark.hostile("terminal")
def test_all_modules_keep_the_rule_and_none_hands_the_terminal_to_a_child(
    tried: Callable[[int], None],
) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "T20,TID251", *ROOMS]
    done = subprocess.run(command, text=True, capture_output=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    # What these start writes for the user: an installer; or into a log file; or it is inside the sandbox.
    allowed = {
        "sandbox/images/relay.py",
        "tools/lsp/servers/install.py",
        "models/engines/vllm/watchdog.py",
        "sandbox/images/default.py",
        "sandbox/backends/bubblewrap/contained.py",
    }
    found = []
    for path in files:
        name, text = str(path.relative_to(ROOT)), path.read_text("utf-8")
        if "noqa: T20" in text or "noqa: TID251" in text:
            found.append(name)
        for call in ast.walk(ast.parse(text)) if name not in allowed else ():
            if isinstance(call, ast.Call) and _starts(call):
                words = {keyword.arg for keyword in call.keywords}
                if not words & {"capture_output", None} and not {"stdout", "stderr"} <= words:
                    found.append(f"{name}:{call.lineno}")
    assert not found, found
    tried(len(files))


def _starts(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func) in {
        "subprocess.run", "subprocess.Popen", "subprocess.call", "subprocess.check_call",
        "asyncio.create_subprocess_exec",
        "os.system", "os.spawnv",
    }  # fmt: skip
