"""Runs inside the sandbox, as a pytest plug-in: connects `behaviour_watch` to pytest.

Any Python from 3.8 on; pytest, the standard library and the modules beside it only.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, List

import pytest

if TYPE_CHECKING:
    from forklock.tools.testing.inside.behaviour_watch import Watch, load
else:
    from forklock_behaviour_watch import Watch, load  # copied beside this file


class Behaviour:
    """The hooks."""

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: Any, items: List[Any]) -> None:
        """Keep only the tests that reach observed functions, where these tests are known."""
        wanted = set(self.watch.job["tests"])
        if wanted:
            config.hook.pytest_deselected(items=[item for item in items if item.nodeid not in wanted])
            items[:] = [item for item in items if item.nodeid in wanted]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_call(self, item: Any) -> Iterator[None]:
        with self.watch.during(item.nodeid):
            outcome = yield
        self.watch.after(failed=outcome.excinfo is not None)  # type: ignore[attr-defined]

    def pytest_sessionfinish(self) -> None:
        self.watch.finish()


def pytest_configure(config: Any) -> None:
    watch = load(Path(os.environ["FORKLOCK_BEHAVIOUR"]))
    config.pluginmanager.register(Behaviour(watch), "forklock-behaviour")
