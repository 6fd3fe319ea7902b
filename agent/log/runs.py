"""Stores and finds runs: in the user's state folder, by repository, and never in a repository.

`<state>/runs/<key>/<run id>/` holds the runs of `agent solve` in one work tree; the key is the tree's name and a hash
of its resolved path, and the file `repo` beside the runs has that path. `<key>/adopted/` holds runs that the user
copied in from elsewhere (`agent runs --adopt`): they are shown and trained on, but not resumed, and applied only with
`--force`. Every folder below the state folder belongs to this user, is no link, and is writable by
nobody else. Moving a repository gives it another key.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from forklock.agent.contract import AgentFault, Hop, Outcome
from forklock.agent.log.events import LogFault, RunLog
from forklock.agent.log.schema import (
    CandidateRuled,
    DiffApplied,
    DiffUndone,
    RunEnded,
    RunStarted,
    TestsChosen,
    VerdictGiven,
)
from forklock.models.paths import HOME_VARIABLE, lies_in_repository, state_dir, user_path
from forklock.sandbox.files.atomic import put_in_place, write_atomic
from forklock.sandbox.files.reading import Unreadable, read_regular

RUN_ID = re.compile(r"[0-9]{8}-[0-9]{6}(-[0-9a-f]{6})?", re.ASCII)
_ADOPTED = "adopted"
_PATH_FILE = "repo"
_MOST_PATH_BYTES = 1 << 16


def repo_key(root: Path) -> str:
    """Folder name of a work tree's runs: readable, and a hash of the resolved path."""
    resolved = root.resolve()
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", resolved.name)[:40] or "repo"
    return f"{name}-{hashlib.sha256(os.fsencode(resolved)).hexdigest()[:16]}"


def top_of(folder: Path) -> Path:
    """The work tree that a folder lies in; the folder itself where it lies in none. Runs no git."""
    whole = user_path(str(folder)).resolve()
    return next((place for place in (whole, *whole.parents) if os.path.lexists(place / ".git")), whole)


def new_run(root: Path, run_id: str) -> RunLog:
    """Makes the folder of a new run and its empty log.

    Raises:
        LogFault: the state folder is not this user's alone, or lies in the repository.
        OSError: the folder cannot be made.
    """
    return RunLog(_make_below(_made_folder(root), run_id))


def kept_folder(root: Path, what: str) -> Path:
    """Makes the folder of what else is kept about a repository, beside its runs and under the same rules.

    Args:
        what: `tasks`; plain letters.

    Raises:
        LogFault: the state folder is not this user's alone, or lies in the repository.
        OSError: the folder cannot be made.
    """
    state = state_dir()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    return _make_below(_make_below(_checked_state(state, root), what), repo_key(root))


def iter_runs(root: Path) -> Iterator[RunLog]:
    """Runs of a repository, newest first: the user's own, then adopted ones."""
    folder = _folder(root)
    if folder is None:
        return
    _check_path(folder / _PATH_FILE, root)
    yield from (RunLog(found) for found in _run_folders(folder))
    adopted = _below(folder, _ADOPTED)
    if adopted is not None:
        yield from (RunLog(found, adopted=True) for found in _run_folders(adopted))


def find(root: Path, run_id: str) -> RunLog:
    """Finds a run by id, by an unambiguous beginning of an id, or as `last`, which is never an adopted one.

    Raises:
        AgentFault: no such run, or several.
    """
    runs = list(iter_runs(root))
    own = [run for run in runs if not run.adopted]
    if run_id == "last" and own:
        return own[0]
    matches = [run for run in runs if run_id and run.folder.name.startswith(run_id)]
    if len(matches) > 1:
        matches = [run for run in matches if run.folder.name == run_id] or matches
    if len(matches) == 1:
        return matches[0]
    what = "no run" if not matches else "more than one run"
    raise AgentFault(f"{what} in {root} is called {run_id!r}", fix="list them with `agent runs`")


def require_own(log: RunLog, root: Path) -> RunStarted:
    """Returns the first event of a run that this user started in this repository.

    Raises:
        AgentFault: it was adopted.
        LogFault: the log is damaged, or is of another run or another repository.
    """
    name = log.folder.name
    if log.adopted:
        raise AgentFault(
            f"run {name} was adopted: its log is not trusted",
            fix="start a run of your own with `agent solve`; its diff is shown by "
            f"`agent show {name} --diff`, and taken by `agent apply {name} --force`",
        )
    events = log.read().events
    first = events[0] if events else None
    if not isinstance(first, RunStarted):
        raise AgentFault(f"run {name} never started", fix="start it again with `agent solve`")
    here = str(root.resolve()).encode("utf-8", "replace").decode()  # as the log writes it
    if first.run_id != name or first.repo != here:
        raise LogFault(
            f"the log in {log.folder} is that of run {first.run_id} in {first.repo}",
            fix="start a new run with `agent solve`",
        )
    return first


def require_tested(log: RunLog, end: RunEnded) -> None:
    """Checks that a run ended with a diff that was tested.

    Raises:
        LogFault: none of its candidates passed with that diff.
    """
    diff, events = log.text(end.diff), log.read().events
    if end.outcome == Outcome.TEST_WRITTEN:
        tested = [e.diff for e in events if isinstance(e, TestsChosen)]
    else:
        hop = Hop.UNVERIFIED if end.outcome == Outcome.UNVERIFIED else Hop.SOLVED
        tested = [e.diff for e in events if isinstance(e, CandidateRuled) and e.hop == hop]
        if tested:  # a verdict may leave idle lines of a candidate out
            tested += [e.diff for e in events if isinstance(e, VerdictGiven)]
    if not any(log.text(one) == diff for one in tested):
        raise LogFault(
            f"the diff of run {log.folder.name} is not what was tested",
            fix="look at it with `agent show --diff`, and apply it with --force if you want it all the same",
        )


# -- adopting ---------------------------------------------------------------------------------------------


def left_in_repo(root: Path) -> int:
    """Counts runs of the first version that lie in the repository. They are not read."""
    with contextlib.suppress(OSError):
        folders = [root / ".forklock", root / ".forklock" / "runs"]
        if all(stat.S_ISDIR(folder.lstat().st_mode) for folder in folders):
            return sum(RUN_ID.fullmatch(entry.name) is not None for entry in folders[1].iterdir())
    return 0


def adopt(root: Path, source: Path) -> list[str]:
    """Copies runs from `source`, as adopted, and returns their ids. Runs that are here already are left out.

    Args:
        source: a run's folder, a folder of runs, or a repository or `.forklock` with runs of the first version.

    Raises:
        AgentFault: there is no run.
        LogFault: a run cannot be read.
    """
    places = [source, source / "runs", source / ".forklock" / "runs"]
    found = [source] if RUN_ID.fullmatch(source.absolute().name) else []
    for place in places if not found else []:
        with contextlib.suppress(OSError, ValueError):
            found += sorted(entry for entry in place.iterdir() if RUN_ID.fullmatch(entry.name))
    if not found:
        raise AgentFault(
            f"no run lies in {source}", fix="name a run's folder, or the `.forklock` folder of a repository"
        )
    adopted = _make_below(_made_folder(root), _ADOPTED)
    known = {run.folder.name for run in iter_runs(root)}
    taken = [run for run in found if run.absolute().name not in known]
    for run in taken:
        _copy_run(run.absolute(), adopted)
    return [run.absolute().name for run in taken]


def _copy_run(source: Path, adopted: Path) -> None:
    """Writes a run anew from what can be read of it. Nothing else of its folder is copied."""
    log = RunLog(source)
    events = log.read().events
    first = events[0] if events else None
    if not isinstance(first, RunStarted) or first.run_id != source.name:
        raise LogFault(
            f"{source} is no run: its log does not begin with this run's start", fix="name another folder"
        )
    incoming = adopted / f".incoming-{source.name}"
    shutil.rmtree(incoming, ignore_errors=True)
    copy = RunLog(incoming)
    copy.open_for_append()
    try:
        for event in events:
            if not isinstance(event, DiffApplied | DiffUndone):  # elsewhere: `agent undo` must not believe it
                copy.append(event)
        for reference in _references(events):
            with contextlib.suppress(LogFault):  # a blob that is gone is missed where it is shown
                text = log.text(reference)
                name = reference.removeprefix("sha256:")
                (incoming / "blobs" / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    finally:
        copy.close()
    put_in_place(incoming, adopted / source.name)


def _references(value: object) -> Iterator[str]:
    if isinstance(value, str):
        if value.startswith("sha256:"):
            yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _references(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _references(part)
    elif hasattr(value, "model_dump"):
        yield from _references(value.model_dump())


def forget(root: Path) -> None:
    """Removes all runs of a repository, for one that was made for a single purpose."""
    folder = _folder(root)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


# -- folders ----------------------------------------------------------------------------------------------


def _folder(root: Path) -> Path | None:
    """Returns the folder of a repository's runs, if there is one."""
    state = state_dir()
    if not state.is_dir():
        return None
    runs = _below(_checked_state(state, root), "runs")
    return _below(runs, repo_key(root)) if runs is not None else None


def _made_folder(root: Path) -> Path:
    state = state_dir()
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = _make_below(_make_below(_checked_state(state, root), "runs"), repo_key(root))
    path = folder / _PATH_FILE
    if not os.path.lexists(path):
        write_atomic(path, os.fsencode(root.resolve()))
    _check_path(path, root)
    return folder


def _checked_state(state: Path, root: Path) -> Path:
    """Returns the state folder. The user may reach it through links, but it may not lie in the repository."""
    state, top = state.resolve(), root.resolve()
    if lies_in_repository(state, top):
        raise LogFault(
            f"the folder for runs, {state}, lies in the repository {top}, whose content is not trusted",
            fix=f"set {HOME_VARIABLE} (or XDG_STATE_HOME) to a folder outside it",
        )
    _require_private(state)
    return state


def _below(parent: Path, name: str) -> Path | None:
    folder = parent / name
    if not os.path.lexists(folder):
        return None
    _require_private(folder)
    return folder


def _make_below(parent: Path, name: str) -> Path:
    folder = parent / name
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    _require_private(folder)
    return folder


def _require_private(folder: Path) -> None:
    """Checks that a folder is this user's alone.

    Raises:
        LogFault: it is a link or a file, belongs to somebody else, or others may write it.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENOTDIR):
            raise LogFault(
                f"{folder} is a link or no folder", fix="move it away: runs are kept there"
            ) from error
        raise LogFault(
            f"cannot open {folder}: {error.strerror}", fix=f"allow it, or set {HOME_VARIABLE}"
        ) from error
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found.st_uid != os.geteuid():
        raise LogFault(
            f"{folder} belongs to user {found.st_uid}, and you are {os.geteuid()}",
            fix=f"set {HOME_VARIABLE} to a folder of your own",
        )
    if found.st_mode & 0o022:
        raise LogFault(f"others may write {folder}, where runs are kept", fix=f"chmod go-w {folder}")


def _run_folders(folder: Path) -> list[Path]:
    """Returns the folders of runs, newest first, and checks that each is this user's alone."""
    found = []
    for entry in sorted(folder.iterdir(), reverse=True):
        if RUN_ID.fullmatch(entry.name) and os.path.lexists(entry / "events.jsonl"):
            _require_private(entry)
            found.append(entry)
    return found


def _check_path(path: Path, root: Path) -> None:
    """Checks that the runs beside this file are this repository's.

    Raises:
        LogFault: they are another repository's.
    """
    try:
        said = read_regular(path, most_bytes=_MOST_PATH_BYTES)
    except FileNotFoundError:
        said = b""
    except (OSError, Unreadable) as error:
        raise LogFault(f"cannot read {path}: {error}", fix=f"remove {path.parent}") from error
    if said != os.fsencode(root.resolve()):
        raise LogFault(
            f"{path.parent} holds runs of {os.fsdecode(said) or 'no repository'}, not of {root}",
            fix="move that folder away",
        )
