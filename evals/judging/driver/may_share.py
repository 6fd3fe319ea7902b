"""evals: may the tests of a program share a process? Pure; runs inside the sandbox, before the program does.

In: a compiled program. Out: whether all that it can leave behind lies in its own namespace, which is made anew
for each test. The answer errs on the side of no: it only costs time. It guards honest programs against their own
left-overs; a program that tricks it can mislead nobody but itself, since it meets no expected output.
"""

from __future__ import annotations

import opcode
import types
from collections.abc import Iterator


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MODULES = _words(
    "abc array bisect cmath collections copy dataclasses datetime enum fractions functools heapq itertools "
    "json math numbers operator queue random re sortedcontainers statistics string sys time typing"
)
"""Whose import leaves nothing behind, and whose functions keep no state that a program may set by calling them;
those that do are in `_NAMES`."""
_NAMES = _words(
    "builtins __builtins__ __import__ __dict__ __class__ __globals__ __subclasses__ __bases__ __mro__ "
    "__code__ __closure__ __defaults__ __kwdefaults__ __setattr__ __delattr__ __wrapped__ __loader__ __spec__ "
    "__file__ eval exec compile globals vars setattr delattr open breakpoint help seed setstate modules "
    "_getframe _current_frames settrace setprofile excepthook displayhook unraisablehook addaudithook "
    "set_int_max_str_digits setswitchinterval set_asyncgen_hooks set_coroutine_origin_tracking_depth "
    "setdlopenflags meta_path path_hooks warnoptions fileno detach close reconfigure __stdin__ __stdout__ "
    "__stderr__ register"
)
_STORES = frozenset(opcode.opmap[name] for name in ("STORE_ATTR", "DELETE_ATTR"))
_BASES = frozenset(opcode.opmap[name] for name in ("LOAD_NAME", "LOAD_GLOBAL"))
_WITHIN = frozenset({opcode.opmap["LOAD_ATTR"]})
_COPY = opcode.opmap.get("COPY", opcode.opmap.get("DUP_TOP"))
"""What `x.y += 1` does with `x`, before the attribute is read and set."""
_IMPORT = opcode.opmap["IMPORT_NAME"]
_SKIPPED = frozenset(opcode.opmap[name] for name in ("CACHE", "EXTENDED_ARG") if name in opcode.opmap)


def contained(code: types.CodeType) -> bool:
    """Whether a run of this program touches nothing that outlives its own namespace, as far as it can be seen."""
    return all(map(_one, _nested(code)))


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    todo = [code]
    while todo:
        one = todo.pop()
        yield one
        todo += [part for part in one.co_consts if isinstance(part, types.CodeType)]


def _one(code: types.CodeType) -> bool:
    if not _NAMES.isdisjoint(code.co_names):
        return False
    steps = code.co_code[::2]
    if _IMPORT in steps and not _imports(code):
        return False
    return not any(step in steps for step in _STORES) or _stores(code)


def _imports(code: types.CodeType) -> bool:
    """Whether every import is of a module that keeps no state."""
    argument = 0
    for step, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        argument = argument << 8 | low
        if step == _IMPORT and code.co_names[argument].partition(".")[0] not in _MODULES:
            return False
        if step != opcode.EXTENDED_ARG:
            argument = 0
    return True


def _stores(code: types.CodeType) -> bool:
    """Whether attributes are set on local things only: `self.x = 1`, not `math.pi = 3`, nor `json.decoder.x += 1`."""
    steps = code.co_code[::2]
    if code.co_flags & 2 and _IMPORT in steps:  # CO_NEWLOCALS: in a function, a local name may be a module
        return False
    rooted, copied = False, False
    for step in steps:
        if step in _STORES and (rooted or copied):
            return False
        copied |= rooted and step == _COPY
        if step not in _SKIPPED:
            rooted = step in _BASES or (rooted and step in _WITHIN)
    return True
