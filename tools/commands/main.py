"""The `tools` command: what the deterministic tools say about a repository, for people and scripts.

Exit codes: 0 done, 1 not complete (`rename`, `calls`), 2 bad input, 3 sandbox or tool trouble, 130 interrupted. Heavy
imports happen inside the commands: `tools --help` must be instant.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from forklock.sandbox.commands.console import NEGATIVE, run_app
from forklock.sandbox.commands.options import command_app
from forklock.sandbox.terminal import row, say, say_verbatim
from forklock.tools.commands import run
from forklock.tools.commands.run import RepoOption, root_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from forklock.tools.lsp import Intel
    from forklock.tools.lsp.commands import Shown

app = command_app("tools", "Ask about a repository without a model: frames, symbols, the map, suspects.")

ServerOption = Annotated[
    str,
    typer.Option("--server", help="Ask this language server (`tools servers`); default: by the file's name."),
]
SymbolArgument = Annotated[
    str,
    typer.Argument(
        metavar="[FILE:]SYMBOL", help="`pkg/shop.py:Cart.total`; the file where it is not unique."
    ),
]
ApplyOption = Annotated[bool, typer.Option("--apply", help="Write the change.")]
TokensOption = Annotated[int, typer.Option("--tokens", min=1, help="Budget, at 3.5 characters a token.")]


@app.command()
def frame(
    symbol: Annotated[str, typer.Argument(metavar="FILE:SYMBOL", help="`pkg/shop.py:Cart.total`.")],
    repo: RepoOption = Path(),
    tokens: TokensOption = 1500,
    server: ServerOption = "",
) -> None:
    """Print a definition and all that its place can use.

    The intellisense frame: what a developer's editor would show around it.
    """
    from forklock.tools.frame.frame import intellisense_frame
    from forklock.tools.index.budget import estimate_tokens
    from forklock.tools.index.find import the_symbol

    root, (path, name) = root_of(repo), _parted(symbol)
    with _intel(root, path, server) as intel:
        one = the_symbol(root, name, path or None, lambda: intel)
        text = intellisense_frame(intel, root, one, budget_tokens=tokens, count_tokens=estimate_tokens)
    say(text)


@app.command("symbols")
def outline(
    file: Annotated[str, typer.Argument(help="A file, relative to the root.")],
    repo: RepoOption = Path(),
    server: ServerOption = "",
) -> None:
    """Print the definitions in a file: lines, name path, signature."""
    from forklock.tools.index.find import file_symbols, read_source
    from forklock.tools.languages.known import signature

    root = root_of(repo)
    text = read_source(root, file)
    with contextlib.ExitStack() as opened:
        found = file_symbols(root, file, lambda: opened.enter_context(_intel(root, file, server)))
    if found:
        rows = (row(f"{o.start_line}-{o.end_line}", o.name_path, signature(text, o)) for o in found)
        say("\n".join(rows))


@app.command()
def search(
    question: Annotated[list[str], typer.Argument(help="What the definition is about, in plain words.")],
    repo: RepoOption = Path(),
    limit: Annotated[int, typer.Option(min=1, help="Definitions at most.")] = 10,
) -> None:
    """Print the definitions that words describe, likeliest first."""
    from forklock.tools.index.search import search as search_repo

    hits = search_repo(root_of(repo), " ".join(question), limit=limit)
    for hit in hits:
        say(row(f"{hit.path}:{hit.head.name_line}", hit.head.name_path, hit.signature))
    if not hits:
        say("nothing here has these words", err=True)


@app.command("map")
def print_map(
    repo: RepoOption = Path(),
    tokens: TokensOption = 1500,
    focus: Annotated[list[str] | None, typer.Option(help="A name or path that matters more.")] = None,
) -> None:
    """Print the most referenced files and definitions."""
    from forklock.tools.index.budget import estimate_tokens
    from forklock.tools.index.map import repo_map

    say(repo_map(root_of(repo), budget_tokens=tokens, count_tokens=estimate_tokens, focus=focus or ()))


@app.command()
def rename(
    symbol: SymbolArgument,
    new_name: Annotated[str, typer.Argument(help="Without its class.")],
    repo: RepoOption = Path(),
    apply: ApplyOption = False,
    partial: Annotated[
        bool, typer.Option("--partial", help="Accept that places are left as they are (they are listed).")
    ] = False,
    server: ServerOption = "",
) -> None:
    """Rename a definition and all its uses. Prints the diff; with --apply also writes it, all files or none.

    Whether it is complete, and which places it does not cover, goes to stderr. Exit code 1: not complete.
    """
    from forklock.tools.lsp.commands import show_rename

    root, (path, name) = root_of(repo), _parted(symbol)
    with _intel(root, path, server) as intel:
        shown = show_rename(intel, root, name, new_name, path or None, apply=apply, partial=partial)
    _print(shown, accepted=partial, is_diff=True)


@app.command()
def calls(
    symbol: SymbolArgument,
    repo: RepoOption = Path(),
    outgoing: Annotated[
        bool, typer.Option("--outgoing", help="What it calls, instead of who calls it.")
    ] = False,
    server: ServerOption = "",
) -> None:
    """Print the calls of a definition. With --outgoing, what it calls.

    Places that may be calls as well go to stderr. Exit code 1: there are such places.
    """
    from forklock.tools.lsp.commands import show_calls

    root, (path, name) = root_of(repo), _parted(symbol)
    with _intel(root, path, server) as intel:
        shown = show_calls(intel, name, path or None, outgoing=outgoing)
    _print(shown)


def _print(shown: Shown, *, accepted: bool = False, is_diff: bool = False) -> None:
    """Print the answer, and the verdict on stderr. Raises typer.Exit where it is not complete."""
    if is_diff:
        say_verbatim(f"{shown.text}\n")
    else:
        say(shown.text)
    say(shown.verdict, err=True)
    if not shown.complete and not accepted:
        raise typer.Exit(NEGATIVE)


@app.command()
def actions(
    file: Annotated[str, typer.Argument(help="A file, relative to the root.")],
    repo: RepoOption = Path(),
    line: Annotated[
        int, typer.Option(min=0, help="Only what begins on this line, from 1; 0: the whole file.")
    ] = 0,
    kind: Annotated[
        str, typer.Option(help="fix, imports or all (every safe fix); default: each of them.")
    ] = "",
    apply: Annotated[str, typer.Option(metavar="TITLE", help="Write the action with this title.")] = "",
    server: ServerOption = "",
) -> None:
    """Print what the servers would change in a file, or write it.

    Quick fixes and organised imports.
    """
    from forklock.tools.lsp.commands import show_actions

    root = root_of(repo)
    with _intel(root, file, server) as intel:
        text = show_actions(intel, root, file, line or None, kind, apply=apply)
    say_verbatim(f"{text}\n")


def _parted(symbol: str) -> tuple[str, str]:
    """`FILE:SYMBOL` or `SYMBOL` as (file, symbol)."""
    path, _, name = symbol.rpartition(":")
    return path, name


@app.command("servers")
def list_servers(
    install: Annotated[str, typer.Option(metavar="NAME", help="Install this one.")] = "",
) -> None:
    """Print the language servers and whether they are installed; install one with --install."""
    from forklock.tools.lsp.servers.install import install as get
    from forklock.tools.lsp.servers.install import rows

    if install:
        say(str(get(install)))
        return
    for one in rows():
        state = str(one.program) if one.program else f"absent; to get it: {one.server.fix}"
        untested = "" if one.server.tested else " (untested)"
        say(row(f"{one.server.name}{untested}", one.suffixes, state))


def _servers(root: Path, path: str, server: str) -> tuple[str, ...]:
    """The servers to ask about a file, or about the repository where no file is known."""
    from forklock.tools.lsp import servers_for, servers_for_file

    return (server,) if server else servers_for_file(path, root) if path else servers_for(root)


COLD_S = 60.0
"""Seconds for a start and for one question: the servers start for this command alone, and some read all first."""


@contextlib.contextmanager
def _intel(root: Path, path: str, server: str) -> Iterator[Intel]:
    """Servers for one command. A terminal shows that they are at work."""
    from forklock.sandbox.terminal import screen
    from forklock.tools.lsp import find_python, open_intel

    names = _servers(root, path, server)
    waiting = screen(stderr=True).status(f"asking {', '.join(names)}")
    opened = open_intel(
        root, servers=names, warm=names[:2], python=find_python(root), timeout_s=COLD_S, start_s=COLD_S
    )
    with opened as intel, waiting:
        yield intel


run.register(app)


def main() -> NoReturn:
    """Entry point of the console script."""
    run_app(app)


if __name__ == "__main__":
    main()
