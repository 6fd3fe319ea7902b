"""One suite for every server of the table that is tested, on the real programs: same questions, same promises."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from lsp_samples import PYTHON, SAMPLES, Sample

from forklock.sandbox.backends.bubblewrap.contained import why_not_contained
from forklock.tools.contract import DiagnosticsAnswer, Freshness, LookupAnswer, ReplaceFile
from forklock.tools.edits.apply import apply_edits
from forklock.tools.lsp import Intel, open_intel
from forklock.tools.lsp.servers.table import SERVERS


def missing(name: str) -> pytest.MarkDecorator:
    absent = SERVERS[name].program() is None
    return pytest.mark.skipif(absent, reason=f"{name} is not installed: {SERVERS[name].fix}")


LATE = {"gopls", "rust-analyzer", "basedpyright"}
"""They take many seconds to start: the first two by building what they need."""


def marks(server: str) -> list[pytest.MarkDecorator]:
    return [missing(server), *([pytest.mark.slow] if server in LATE else [])]


@pytest.fixture(scope="module", params=[pytest.param(name, marks=marks(name)) for name in SAMPLES])
def server(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def sample(server: str) -> Sample:
    return SAMPLES[server]


@contextlib.contextmanager
def opened(root: Path, server: str) -> Iterator[Intel]:
    """The servers of a workspace; at the end no process of theirs is left."""
    servers = (server, "ruff") if SAMPLES[server] is PYTHON else (server,)
    with open_intel(root, servers=servers, timeout_s=30.0, start_s=120.0) as one:
        yield one
        family = [psutil.Process(pid) for pid in one.pids.values() if psutil.pid_exists(pid)]
        family += [child for p in family for child in p.children(recursive=True)]
    _, alive = psutil.wait_procs(family, timeout=3)
    assert not alive


@pytest.fixture
def root(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A workspace of its own."""
    one = SAMPLES[request.getfixturevalue("server")] if "server" in request.fixturenames else PYTHON
    one.write(tmp_path)
    return tmp_path


@pytest.fixture
def intel(root: Path, server: str) -> Iterator[Intel]:
    """Servers of their own, which know nothing yet."""
    with opened(root, server) as one:
        yield one


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[Intel]:
    root = tmp_path_factory.mktemp("kept")
    SAMPLES[server].write(root)
    with opened(root, server) as one:
        yield one


@pytest.fixture
def shared(kept: Intel, sample: Sample) -> Intel:
    """Servers that answered other tests before; the workspace is as at the beginning."""
    for file in kept.root.rglob("*"):
        if file.is_file() and file.relative_to(kept.root).as_posix() not in sample.files:
            file.unlink()
    sample.write(kept.root)
    kept.sync()
    kept.set_baseline()
    return kept


def names(answer: LookupAnswer) -> list[str]:
    return [place.name_path for place in answer.locations]


def messages(answer: DiagnosticsAnswer) -> str:
    return " | ".join(d.message for d in answer.items)


def test_look_ups(shared: Intel, sample: Sample) -> None:
    """One server start for all of them: each is a line of the contract."""
    found = shared.definition(sample.use, *sample.call)  # after letters of several bytes and UTF-16 units
    assert found.freshness is Freshness.FOUND
    assert (found.locations[0].path, found.locations[0].name_path) == (sample.shapes, "scale")
    assert found.locations[0].snippet.startswith(sample.head) and "by" in found.locations[0].snippet

    uses = shared.references_of("Shape.area")
    assert (sample.shapes, "scale") in [(p.path, p.name_path) for p in uses.locations]
    assert "area() " in uses.locations[-1].snippet

    assert {"float", "number", "double", "float64", "f64"} & set(
        re.findall(r"\w+", shared.hover_of("scale").text)
    )
    line, asked = asking_for_members(sample)
    column = asked.split("\n")[line - 1].index("shape.") + 6
    members = shared.completion(sample.use, line, column, text=asked).text
    assert {"area", "name"} <= {re.split(r"[:(]", m.strip())[0] for m in members.split("\n")}

    defined = shared.outline(sample.shapes)
    assert isinstance(defined, list)
    assert {("Shape", "class"), ("Shape.area", "method"), ("scale", "function")} <= {
        (s.name_path, s.kind) for s in defined
    }
    assert {"Shape", "Shape.area", "scale"} <= set(names(shared.document_symbols(sample.shapes)))

    nothing = shared.definition(sample.shapes, sample.blank, 0)
    assert (nothing.freshness, nothing.locations) == (Freshness.CLEAN, ())


@pytest.mark.parametrize("trusted", [True, False])
def test_trusted_servers_are_ours_and_others_are_apart(
    root: Path, server: str, sample: Sample, trusted: bool
) -> None:
    """The same answers either way; apart, no process of it has our process name space."""
    if not trusted and (problem := why_not_contained(root)):
        pytest.skip(f"SERVERS CANNOT BE CONTAINED HERE: {problem}")
    with open_intel(root, servers=(server,), timeout_s=30.0, start_s=120.0, trusted=trusted) as one:
        assert names(one.definition(sample.use, *sample.call)) == ["scale"]
        assert one.diagnostics(sample.use).freshness is Freshness.CLEAN
        outer = psutil.Process(one.pids[server])
        family = [outer, *outer.children(recursive=True)]
        ours = Path("/proc/self/ns/pid").readlink()
        spaces = {Path(f"/proc/{p.pid}/ns/pid").readlink() for p in family}
        assert (spaces == {ours}) == trusted
        assert (
            all("bwrap" in p.name() for p in family if Path(f"/proc/{p.pid}/ns/pid").readlink() == ours)
            != trusted
        )


def asking_for_members(sample: Sample) -> tuple[int, str]:
    """(line, text): the use without the name after its last `shape.`."""
    asked = re.sub(r"shape\.name", "shape.", sample.use_text)
    return next(n for n, text in enumerate(asked.split("\n"), 1) if "shape." in text), asked


def test_rename_reaches_every_use_and_is_written_at_once(intel: Intel, root: Path, sample: Sample) -> None:
    answer = intel.changes.rename("scale", "resized")
    assert answer.freshness is Freshness.FOUND, answer.detail
    (change,) = answer.changes
    assert change.texts == {
        path: re.sub(r"\bscale\b", "resized", sample.files[path]) for path in (sample.shapes, sample.use)
    }
    assert (root / sample.use).read_text() == sample.use_text  # nothing is written by asking
    apply_edits(root, [ReplaceFile(path=path, source=text) for path, text in change.texts.items()])
    intel.sync()
    assert intel.new_diagnostics(sample.use).freshness is Freshness.CLEAN
    assert intel.definition_of("resized").locations

    nobody = intel.changes.rename("volume", "bulk")
    assert nobody.freshness is Freshness.CLEAN and "no definition" in nobody.detail


def test_calls_both_ways(shared: Intel, sample: Sample, server: str) -> None:
    into = shared.calls.incoming("scale")
    assert (sample.use, sample.call[0], "report") in [(p.path, p.line, p.name_path) for p in into.locations]
    assert len(into.locations) == 1  # the import is no call
    out = shared.calls.outgoing("scale")
    assert (sample.shapes, "Shape.area") in [(p.path, p.name_path) for p in out.locations]
    assert shared.calls.incoming("report").freshness is Freshness.CLEAN


def test_quick_fix(shared: Intel, sample: Sample) -> None:
    (shared.root / sample.use).write_text(sample.mistaken(sample.use_text))
    shared.sync([sample.use])
    offered = shared.changes.actions(sample.use, kinds=("fix",))
    assert offered.freshness is Freshness.FOUND, offered.detail
    assert sample.use_text in [change.texts.get(sample.use) for change in offered.changes]
    assert all(change.kind.startswith("quickfix") for change in offered.changes)


def test_references_reach_files_that_nobody_opened(intel: Intel, sample: Sample) -> None:
    uses = intel.references_of("scale")
    assert (sample.use, sample.call[0], "report") in [(p.path, p.line, p.name_path) for p in uses.locations]


def test_diagnostics_are_of_exactly_this_content(shared: Intel, sample: Sample) -> None:
    assert shared.diagnostics(sample.use).freshness is Freshness.CLEAN
    wrong = sample.use_text.replace("2.0", sample.wrong("twice"))
    for _ in range(3):  # dirty, clean, dirty: never the answer before
        assert "twice" in messages(shared.diagnostics(sample.use, wrong))
        assert shared.diagnostics(sample.use, sample.use_text).freshness is Freshness.CLEAN
    assert (shared.root / sample.use).read_text() == sample.use_text
    assert "scale" in names(shared.definition(sample.use, *sample.call))


def test_look_ups_are_of_what_is_on_disk(shared: Intel, sample: Sample) -> None:
    """The second question of a kind is asked without the loop: it must see each change that one with it would see."""
    line, column = sample.call
    for _ in range(2):
        before = shared.definition(sample.use, line, column).locations[0]
    assert before.name_path == "scale"
    (shared.root / sample.use).write_text("\n" + sample.use_text)  # nobody says so
    for _ in range(2):
        assert shared.definition(sample.use, line + 1, column).locations == (before,)
    (shared.root / sample.shapes).write_text("\n\n" + sample.shapes_text)
    shared.sync([sample.shapes])
    for _ in range(2):
        (after,) = shared.definition(sample.use, line + 1, column).locations
        assert (after.line, after.snippet) == (before.line + 2, before.snippet)


def test_only_new_diagnostics_for_many_candidates_of_one_file(shared: Intel, sample: Sample) -> None:
    old = sample.use_text + sample.spoilt
    (shared.root / sample.use).write_text(old)
    shared.sync([sample.use])
    shared.set_baseline()
    assert shared.diagnostics(sample.use).freshness is Freshness.FOUND
    assert shared.new_diagnostics(sample.use, "\n\n" + old).freshness is Freshness.CLEAN  # moved
    for n in range(8):
        bad = shared.new_diagnostics(sample.use, old.replace("2.0", sample.wrong(f"v{n}")))
        assert bad.freshness is Freshness.FOUND and f"v{n}" in messages(bad) and len(bad.items) == 1
        assert bad.items[0].symbol == "report"
        assert shared.new_diagnostics(sample.use, old).freshness is Freshness.CLEAN


def test_change_in_a_dependency_shows_in_its_importer(shared: Intel, sample: Sample) -> None:
    assert shared.new_diagnostics(sample.use).freshness is Freshness.CLEAN
    shapes = shared.root / sample.shapes

    shapes.write_text(sample.broken_shapes)  # what a command did, in a file never opened
    shared.sync([sample.shapes])
    assert shared.new_diagnostics(sample.use).freshness is Freshness.FOUND

    shapes.write_text(sample.shapes_text)
    shared.sync()
    assert shared.new_diagnostics(sample.use).freshness is Freshness.CLEAN

    unsaved = {sample.shapes: sample.broken_shapes}
    both = shared.new_diagnostics_of(unsaved, also=[sample.use])
    assert {d.path for d in both.items} >= {sample.use}
    assert shared.new_diagnostics(sample.use).freshness is Freshness.CLEAN  # the overlay is gone


def test_baseline_is_of_the_whole_workspace(intel: Intel, root: Path, sample: Sample) -> None:
    """The importer is first asked about after the dependency broke it: still new."""
    (root / sample.shapes).write_text(sample.broken_shapes)
    intel.sync(["pkg"])
    assert intel.new_diagnostics(sample.use).freshness is Freshness.FOUND
    intel.set_baseline()
    assert intel.new_diagnostics(sample.use).freshness is Freshness.CLEAN


def test_new_and_deleted_files(shared: Intel, sample: Sample) -> None:
    fresh = shared.new_diagnostics(*sample.extra)
    assert fresh.freshness is Freshness.FOUND
    assert not (shared.root / sample.extra[0]).exists()
    (shared.root / sample.shapes).unlink()
    shared.sync([sample.shapes])
    broken = shared.new_diagnostics(sample.use)
    assert broken.freshness is Freshness.FOUND and "gone since the baseline" in broken.detail


def test_deleted_dependency_of_a_file_asked_about_before(shared: Intel, sample: Sample) -> None:
    assert shared.new_diagnostics(sample.use).freshness is Freshness.CLEAN
    (shared.root / sample.shapes).unlink()
    shared.sync()
    broken = shared.new_diagnostics(sample.use)
    assert broken.freshness is Freshness.FOUND and not broken.detail


def crash(pid: int) -> None:
    """The server itself ends, not only what it is contained in: that would leave it a moment to answer."""
    first = psutil.Process(pid)
    for process in (*reversed(first.children(recursive=True)), first):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def test_a_crash_costs_a_restart_and_the_second_is_final(intel: Intel, server: str, sample: Sample) -> None:
    assert intel.diagnostics(sample.use).freshness is Freshness.CLEAN
    crash(intel.pids[server])
    wrong = sample.use_text.replace("2.0", sample.wrong("twice"))
    assert "twice" in messages(intel.diagnostics(sample.use, wrong))  # of the restarted one, with this text
    crash(intel.pids[server])
    gone = intel.definition(sample.use, *sample.call)
    assert gone.freshness is Freshness.UNAVAILABLE and "crashed twice" in gone.detail
    assert SERVERS[server].fix in gone.detail


def suspend(process: psutil.Process) -> None:
    """Stopped when this returns: on a busy machine threads go on until the one that takes the signal is run."""
    process.suspend()
    states = Path(f"/proc/{process.pid}/task").glob("*/stat")
    for state in states:
        while state.exists() and state.read_text().rpartition(")")[2].split()[0] not in "Tt":
            time.sleep(0.005)


def test_a_server_that_hangs_is_given_up_in_time(server: str, sample: Sample, root: Path) -> None:
    with open_intel(root, servers=(server,), timeout_s=60.0, start_s=120.0) as one:
        assert one.hover(sample.use, *sample.call).freshness is not Freshness.TIMED_OUT
        one._asker.timeout_s = 1.0  # a cold start may take longer than an answer may
        first = psutil.Process(one.pids[server])
        family = [first, *first.children(recursive=True)]
        for process in family:
            suspend(process)
        started = time.monotonic()
        assert one.definition(sample.use, *sample.call).freshness is Freshness.TIMED_OUT
        assert one.diagnostics(*sample.extra).freshness is Freshness.TIMED_OUT
    assert time.monotonic() - started < 40
    _, left = psutil.wait_procs(
        family, timeout=5
    )  # a killed process with many threads takes its moment to end
    assert not [p for p in left if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize(
    ("server", "path", "text", "name", "told"),
    [
        pytest.param("clangd", "m.c", "int twice(int n) { return 2 * n; }\nint x = twice(y);\n", "twice",
                     "'y'", marks=missing("clangd")),
        pytest.param("typescript", "m.jsx", "function twice(n) { return 2 * n; }\nexport const x = <b>;\n",
                     "twice", "'b'", marks=missing("typescript")),
    ],
)  # fmt: skip
def test_c_and_javascript_without_a_project(
    tmp_path: Path, server: str, path: str, text: str, name: str, told: str
) -> None:
    (tmp_path / path).write_text(text)
    (tmp_path / f"other{Path(path).suffix}").write_text("")
    with open_intel(tmp_path, servers=(server,), timeout_s=30.0, start_s=120.0) as one:
        assert names(one.definition_of(name)) == [name]
        assert told in messages(one.diagnostics(path))


@pytest.mark.parametrize(
    ("servers", "path", "text", "organised"),
    [
        pytest.param(("ty", "ruff"), "m.py", "import sys\nimport os\n\nprint(os, sys)\n",
                     "import os\nimport sys\n\nprint(os, sys)\n", marks=missing("ruff"), id="python"),
        pytest.param(("typescript",), "m.ts", 'import { b, a } from "./n";\n\nexport const x = [a];\n',
                     'import { a, b } from "./n";\n\nexport const x = [a];\n', marks=missing("typescript"),
                     id="typescript"),
    ],
)  # fmt: skip
def test_organised_imports(
    tmp_path: Path, servers: tuple[str, ...], path: str, text: str, organised: str
) -> None:
    (tmp_path / path).write_text(text)
    (tmp_path / "n.ts").write_text("export const a = 1;\nexport const b = 2;\n")
    with open_intel(tmp_path, servers=servers, timeout_s=30.0, start_s=120.0) as one:
        offered = one.changes.actions(path, kinds=("imports",))
    assert organised in [change.texts.get(path) for change in offered.changes], offered


# --- not about a server: ty and ruff -------------------------------------------------------------------


@pytest.fixture
def quick(root: Path) -> Iterator[Intel]:
    with open_intel(root) as one:
        yield one


def test_ruff_says_errors_only_unless_the_repo_has_its_own_mind(root: Path) -> None:
    text = "import os, sys\n\n\ndef f(x:list=[]):\n    return undefined_name\n"
    with open_intel(root, servers=("ruff",)) as one:
        codes = {d.code for d in one.diagnostics("pkg/use.py", text).items}
    assert codes == {"F401", "F821"}
    (root / "ruff.toml").write_text('lint.select = ["B"]\n')
    with open_intel(root, servers=("ruff",)) as one:
        assert {d.code for d in one.diagnostics("pkg/use.py", text).items} == {"B006"}


def test_ruff_alone_answers_no_look_ups(root: Path) -> None:
    with open_intel(root, servers=("ruff",)) as one:
        assert one.definition("pkg/use.py", 5, 26).freshness is Freshness.UNAVAILABLE


def test_syntax_error_is_said_once(quick: Intel) -> None:
    items = quick.diagnostics("pkg/use.py", "def (:\n").items
    assert items and len({d.message for d in items}) == len(items)


def test_names(quick: Intel, root: Path) -> None:
    assert quick.definition_of("area").locations[0].name_path == "Shape.area"
    assert "no definition" in quick.definition_of("volume").detail
    (root / "pkg/more.py").write_text("def scale() -> None: ...\n")
    quick.sync(["pkg/more.py"])
    ambiguous = quick.references_of("scale")
    assert "pkg/more.py:scale" in ambiguous.detail and "pkg/shapes.py:scale" in ambiguous.detail
    assert names(quick.definition_of("scale", "pkg/more.py")) == ["scale"]


def test_ladder(quick: Intel) -> None:
    whole = quick.definition_of("Shape")
    assert "return 0.0" in whole.locations[0].snippet and not whole.detail
    short = quick.definition_of("Shape", max_chars=90)
    assert short.locations[0].snippet == 'class Shape:\n    """Something with an area."""'
    bare = quick.definition_of("Shape", max_chars=5)
    assert (bare.locations[0].snippet, bare.locations[0].line) == ("", 4)


def test_installed_packages_resolve(quick: Intel) -> None:
    text = "from rich.table import Table\n\nTable\n"
    found = quick.definition("pkg/use.py", 3, 0, text=text)
    assert found.locations and found.locations[0].path.endswith("rich/table.py")
    assert found.locations[0].path.startswith("/")


def test_several_threads(quick: Intel) -> None:
    wrong: list[object] = []

    def work(n: int) -> None:
        for _ in range(5):
            answer = quick.new_diagnostics("pkg/use.py", PYTHON.use_text.replace("2.0", f'"t{n}"'))
            if f"t{n}" not in messages(answer):
                wrong.append(answer)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
