"""Runs inside the sandbox, in place of `python -m unittest`: connects `behaviour_watch` to unittest.

Takes unittest's own command line. Any Python from 3.8 on; the standard library and the modules beside it only.
"""

import os
import sys
import unittest
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from forklock.tools.testing.inside.behaviour_watch import Watch, load
else:
    sys.path[0] = str(Path.cwd())  # as `-m` does; the folder of this file is on PYTHONPATH
    from forklock_behaviour_watch import Watch, load


def watch_tests(watch: Watch) -> None:
    """Have the body of every test watched."""
    run = unittest.TestCase._callTestMethod  # type: ignore[attr-defined]

    def watched(case: Any, method: Any) -> Any:
        try:
            with watch.during(case.id()):
                done = run(case, method)
        except BaseException:
            watch.after(failed=True)
            raise
        watch.after(failed=False)
        return done

    unittest.TestCase._callTestMethod = watched  # type: ignore[attr-defined]


def main() -> None:
    watch = load(Path(os.environ["FORKLOCK_BEHAVIOUR"]))
    watch_tests(watch)
    unittest.main(module=None, argv=["python -m unittest", *sys.argv[1:]], exit=False)
    watch.finish()


main()
