"""What the tools say about other languages than Python: through real servers, or why they cannot."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lsp_samples import CPP, GO, RUST, TYPESCRIPT, Sample
from lsprotocol import types as lsp
from warm import warm_run

from forklock.sandbox.backends.bubblewrap.contained import why_not_contained
from forklock.tools.contract import EditRefused, ReplaceFile, ToolFault
from forklock.tools.edits.apply import apply_edits
from forklock.tools.frame.frame import intellisense_frame
from forklock.tools.index.budget import estimate_tokens
from forklock.tools.index.find import NoSuchSymbol, the_symbol
from forklock.tools.languages.known import language_of
from forklock.tools.lsp import open_intel
from forklock.tools.lsp.asking.outlines import outlined
from forklock.tools.lsp.commands import NameTaken, show_actions, show_calls, show_rename
from forklock.tools.lsp.servers import debian, install
from forklock.tools.lsp.servers.places import servers_dir
from forklock.tools.lsp.servers.table import SERVERS, servers_for, servers_for_file


def missing(name: str) -> pytest.MarkDecorator:
    absent = SERVERS[name].program() is None
    return pytest.mark.skipif(absent, reason=f"{name} is not installed: {SERVERS[name].fix}")


def run(*words: str) -> str:
    done = warm_run([sys.executable, "-m", "forklock.tools.commands.main", *words])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        pytest.param(TYPESCRIPT, "number", marks=missing("typescript"), id="typescript"),
        pytest.param(CPP, "double", marks=missing("clangd"), id="cpp"),
        pytest.param(GO, "float64", marks=[missing("gopls"), pytest.mark.slow], id="go"),
        pytest.param(RUST, "f64", marks=[missing("rust-analyzer"), pytest.mark.slow], id="rust"),
    ],
)
def test_symbols_and_frame_by_the_file_s_name(tmp_path: Path, sample: Sample, told: str) -> None:
    sample.write(tmp_path)
    rows = [line.split("\t") for line in run("symbols", sample.shapes, "--repo", str(tmp_path)).splitlines()]
    assert {"Shape", "Shape.area", "scale"} <= {row[1] for row in rows}
    assert all(told in row[2] for row in rows if row[1] in ("Shape.area", "scale"))

    frame = run("frame", "report", "--repo", str(tmp_path))  # the file is found by the name
    assert f"// scale in {sample.shapes}" in frame and "Used here" in frame


@pytest.mark.parametrize(
    ("server", "sample"),
    [
        pytest.param("typescript", TYPESCRIPT, marks=missing("typescript")),
        pytest.param("clangd", CPP, marks=missing("clangd")),
        pytest.param("gopls", GO, marks=[missing("gopls"), pytest.mark.slow]),
        pytest.param("rust-analyzer", RUST, marks=[missing("rust-analyzer"), pytest.mark.slow]),
    ],
)
def test_a_frame_tells_class_and_callers(tmp_path: Path, server: str, sample: Sample) -> None:
    sample.write(tmp_path)
    with open_intel(tmp_path, servers=(server,), timeout_s=30.0, start_s=120.0) as one:
        area = the_symbol(tmp_path, "Shape.area", None, lambda: one)
        frame = intellisense_frame(one, tmp_path, area, budget_tokens=800, count_tokens=estimate_tokens)
    callers = frame.partition("### Callers")[2]
    assert f"// {sample.shapes}:" in callers and "in scale" in callers
    # Methods of Go stand outside of their type, so its frame has no class.
    assert ("Something with an area." in frame) == (server != "gopls")


@missing("typescript")
def test_rename_calls_and_actions_in_words(tmp_path: Path) -> None:
    TYPESCRIPT.write(tmp_path)
    shapes, use, text = TYPESCRIPT.shapes, TYPESCRIPT.use, TYPESCRIPT.use_text
    shown = run("rename", f"{shapes}:Shape.area", "surface", "--repo", str(tmp_path))
    assert "+  surface(): number {" in shown and "+  return shape.surface() * by;" in shown
    assert (tmp_path / shapes).read_text() == TYPESCRIPT.shapes_text
    with open_intel(tmp_path, servers=("typescript",), timeout_s=30.0, start_s=120.0) as one:
        done = show_rename(one, tmp_path, "Shape.area", "surface", shapes, apply=True)
        assert done.text == shown.strip("\n") and done.complete
        assert "shape.surface() * by" in (tmp_path / shapes).read_text()
        assert show_calls(one, "scale", None).text == f"{use}:4 report: {text.splitlines()[3].strip()}"
        assert f"{shapes}:10 Shape.surface" in show_calls(one, "scale", None, outgoing=True).text
        with pytest.raises(NameTaken, match="is no name"):
            show_rename(one, tmp_path, "scale", "two words", None)

        (tmp_path / use).write_text(TYPESCRIPT.mistaken(text))
        one.sync()
        title = "Change spelling to 'scale'"
        assert f"{title} [quickfix" in show_actions(one, tmp_path, use, None, "fix")
        with pytest.raises(NoSuchSymbol, match="no action") as offered:
            show_actions(one, tmp_path, use, None, "fix", apply="Make it good")
        assert title in offered.value.fix
        show_actions(one, tmp_path, use, None, "fix", apply=title)
        assert (tmp_path / use).read_text() == text


def test_edits_of_several_files_are_written_all_or_none(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.py").write_text("y = 2\n")
    good, bad = ReplaceFile(path="a.py", source="x = 3\n"), ReplaceFile(path="b.py", source="y = (\n")
    with pytest.raises(EditRefused, match=r"b\.py would not parse"):
        apply_edits(tmp_path, [good, bad])
    assert (tmp_path / "a.py").read_text() == "x = 1\n"
    # One that fails only when it is written, after others: a folder that is a file.
    late = ReplaceFile(path="a.py/c.py", source="z = 1\n")
    with pytest.raises(EditRefused):
        apply_edits(tmp_path, [ReplaceFile(path="b.py", source="y = 4\n"), late])
    assert (tmp_path / "b.py").read_text() == "y = 2\n"
    with pytest.raises(EditRefused, match="each file once"):
        apply_edits(tmp_path, [good, ReplaceFile(path="./a.py", source="x = 5\n")])


def test_names_written_in_braces() -> None:
    text = '// not(this)\nconst x: Point = origin.move(1, "nor.this"); /* nor\nthis */ std::swap(a, b->c);\n'
    found = {use.dotted: (use.line, use.column) for use in language_of("m.ts").uses(text, 1, 4)}
    assert found == {
        "x": (2, 6), "Point": (2, 9), "origin": (2, 17), "origin.move": (2, 24),
        "std": (3, 8), "std.swap": (3, 13), "a": (3, 18), "b": (3, 21), "b.c": (3, 24),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind", "member", "told"),
    [
        ("impl fmt::Display for Shape", "Object", "fmt", ["Shape.fmt"]),
        ("impl<T: Into<Vec<u8>>> From<T> for a::Stack<T>", "Object", "from", ["Stack.from"]),
        ("impl Trait for &'a mut Foo<'_>", "Object", "go", ["Foo.go"]),
        ("impl<T> Deref for Box<T> where T: X", "Object", "deref", ["Box.deref"]),
        ("impl [T]", "Object", "len", ["len"]),
        ("implement", "Class", "go", ["implement", "implement.go"]),
        ("(*Stack[T]).Push", "Method", "", ["Stack.Push"]),
        ("(Shape).area", "Method", "", ["Shape.area"]),
    ],
)
def test_how_servers_name_what_belongs_to_a_type(name: str, kind: str, member: str, told: list[str]) -> None:
    def symbol(name: str, kind: str, *children: lsp.DocumentSymbol) -> lsp.DocumentSymbol:
        where = lsp.Range(lsp.Position(0, 0), lsp.Position(3, 1))
        return lsp.DocumentSymbol(name, lsp.SymbolKind[kind], where, where, children=children)

    found = symbol(name, kind, *([symbol(member, "Function")] if member else []))
    assert [o.symbol.name_path for o in outlined("m", "", [found], lambda at: at.character)] == told


def test_a_comment_is_no_part_of_a_definition() -> None:
    text = "/** About\n * f. */\n// And more.\n#[must_use]\nfn f() {}\n"
    whole, name = (
        lsp.Range(lsp.Position(0, 0), lsp.Position(4, 9)),
        lsp.Range(lsp.Position(4, 3), lsp.Position(4, 4)),
    )
    (one,) = outlined(
        "m", text, [lsp.DocumentSymbol("f", lsp.SymbolKind.Function, whole, name)], lambda at: at.character
    )
    assert (one.symbol.start_line, one.symbol.end_line, one.line) == (4, 5, 5)


@missing("typescript")
def test_a_compiler_that_lies_in_the_repo_is_not_run(tmp_path: Path) -> None:
    TYPESCRIPT.write(tmp_path)
    theirs = tmp_path / "node_modules" / "typescript"
    (theirs / "lib").mkdir(parents=True)
    (theirs / "package.json").write_text('{"name": "typescript", "version": "5.9.3"}')
    (theirs / "lib" / "tsserver.js").write_text("require('fs').writeFileSync(__dirname + '/was-run', '')")
    with open_intel(tmp_path, servers=("typescript",), timeout_s=30.0, start_s=120.0) as one:
        assert one.definition(TYPESCRIPT.use, *TYPESCRIPT.call).locations
    assert not (theirs / "lib" / "was-run").exists()


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(
    ("server", "sample"),
    [
        pytest.param("clangd", CPP, marks=missing("clangd")),
        pytest.param("gopls", GO, marks=[missing("gopls"), pytest.mark.slow]),
        pytest.param("rust-analyzer", RUST, marks=[missing("rust-analyzer"), pytest.mark.slow]),
    ],
)
def test_nothing_is_written_into_the_repo(tmp_path: Path, server: str, sample: Sample, trusted: bool) -> None:
    sample.write(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with open_intel(tmp_path, servers=(server,), timeout_s=60.0, start_s=120.0, trusted=trusted) as one:
        assert one.references_of("scale").locations
    assert sorted(tmp_path.rglob("*")) == before


def test_which_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FORKLOCK_TRUSTED", raising=False)
    assert servers_for(tmp_path) == ("ty", "ruff")
    for name in ("a.ts", "b.cpp", "c.go", "d.rs"):
        (tmp_path / name).write_text("")
    assert servers_for_file("x/a.mjs", tmp_path) == ("typescript",)
    with pytest.raises(ToolFault, match="no language server"):
        servers_for_file("notes.txt", tmp_path)
    if not (problem := why_not_contained(tmp_path)):
        assert servers_for(tmp_path) == ("ty", "ruff", "typescript", "clangd", "gopls", "rust-analyzer")
        assert servers_for_file("c.go", tmp_path) == ("gopls",)
    # gopls and rust-analyzer run what the repo says: among our own processes they have to be named.
    monkeypatch.setenv("FORKLOCK_TRUSTED", "1")
    assert servers_for(tmp_path) == ("ty", "ruff", "typescript", "clangd"), problem
    with pytest.raises(ToolFault, match="runs build tools") as refused:
        servers_for_file("c.go", tmp_path)
    assert "--server gopls" in refused.value.fix


def test_an_absent_server_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/nonexistent")
    (tmp_path / "a.ts").write_text("")
    with open_intel(tmp_path, servers=("typescript",)) as one:
        said = one.diagnostics("a.ts").detail
    assert "typescript is not installed" in said and "tools servers --install typescript" in said
    command = install.install_command("typescript")
    assert command[-1].startswith("typescript-language-server@") and str(tmp_path / "home") in " ".join(
        command
    )
    with pytest.raises(ToolFault) as theirs:
        install.install("gopls")
    assert theirs.value.fix.startswith("run: go install")


@pytest.mark.skipif(
    not all(map(shutil.which, ("apt-get", "dpkg-deb"))),
    reason="NO APT: NO SERVER CAN BE HAD FROM DEBIAN'S PACKAGES",
)
def test_a_server_from_debian_s_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real packages of a mirror of our own, unsigned."""
    monkeypatch.setenv("FORKLOCK_HOME", str(tmp_path / "home"))
    insecure = tmp_path / "apt.conf"
    insecure.write_text('Acquire::AllowInsecureRepositories "1"; APT::Get::AllowUnauthenticated "1";')
    monkeypatch.setenv("APT_CONFIG", str(insecure))
    monkeypatch.setattr(debian, "KEYS", tmp_path / "none")
    monkeypatch.setattr(debian, "_mirror", lambda: f"copy:{tmp_path}/mirror")
    then = {"gopls": "go", "golang-go": "exit 0"}
    files = {"gopls": "usr/bin/gopls", "golang-go": "usr/lib/go-9.9/bin/go"}
    mirror(
        tmp_path / "mirror",
        {name: {path: f"#!/bin/sh\necho {name}\n{then[name]}\n"} for name, path in files.items()},
    )

    program = install.install("gopls")
    assert program == servers_dir() / "bin" / "gopls" == SERVERS["gopls"].program()
    said = subprocess.run([program, "version"], capture_output=True, text=True, check=False).stdout
    assert said.startswith("gopls\ngolang-go\n")  # with its own Go on PATH
    assert sorted(p.name for p in servers_dir().iterdir()) == ["bin", "gopls"]

    (tmp_path / "mirror" / "pool" / "gopls.deb").write_bytes(b"torn")
    with pytest.raises(ToolFault, match="apt-get failed"):
        install.install("gopls")
    assert SERVERS["gopls"].program() == program  # what was there before still is


def mirror(root: Path, packages: dict[str, dict[str, str]]) -> None:
    """A Debian mirror with one suite; each package has these files."""
    words = ["dpkg", "--print-architecture"]
    machine = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    index = root / "dists" / debian.SUITE / "main" / f"binary-{machine}"
    for folder in (index, root / "pool"):
        folder.mkdir(parents=True)
    told = ""
    for name, files in packages.items():
        tree = root / "trees" / name
        control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: n\nDescription: d\n"
        for path, text in {"DEBIAN/control": control, **files}.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_text(text)
            (tree / path).chmod(0o755)
        package = root / "pool" / f"{name}.deb"
        subprocess.run(["dpkg-deb", "--build", tree, package], check=True, capture_output=True)
        digest = hashlib.sha256(package.read_bytes()).hexdigest()
        size = package.stat().st_size
        told += f"{control}Filename: pool/{name}.deb\nSize: {size}\nSHA256: {digest}\n\n"
    (index / "Packages").write_text(told)
