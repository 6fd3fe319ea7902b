"""An edit of one definition leaves all else there, meaning the same: modules made of awkward constructs are edited, run
before and after, and compared by what their names hold."""

from __future__ import annotations

import ast
import types
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forklock.tools.contract import EditRefused, ReplaceSymbol
from forklock.tools.edits.apply import preview
from forklock.tools.languages.known import symbol_source, symbols

_HEAD = '''"""Doc."""
import os
from typing import TYPE_CHECKING, overload
from functools import singledispatch, cached_property
import types
try:
    import simplejson as json
except ImportError:
    import json
try:
    import ujson
except ImportError:
    ujson = None
if TYPE_CHECKING:
    from decimal import Decimal
    from fractions import Fraction as F
holder = types.SimpleNamespace(a=0)
'''
_BLOCKS = [
    """
class P{k}:
    # the x
    @property
    def x(self):
        '''Get.'''
        return 1

    @x.setter
    def x(self, v):  # set
        self._x = v

    @x.deleter
    def x(self):
        del self._x

    y: int = 2  # kept
    z = w = 3

    @cached_property
    def c(self):
        return 7
""",
    "a{k} = b{k} = [1]  # type: ignore\n",
    "A{k}, B{k} = 1, 2\n",
    "(p{k}, [q{k}, *r{k}]) = 1, (2, 3)\n",
    "holder.a = t{k} = 5\n",
    "x{k} = (n{k} := 4)\n",
    "d{k} = {{}}; e{k} = 2\n",
    "v{k}: int = 9\nu{k} = [i for i in range(3)]  # a remark\n",
    """
try:
    def g{k}():
        return 1
except ImportError:
    def g{k}():
        return 2
""",
    """
if TYPE_CHECKING:
    def h{k}(a: int) -> int: ...
else:
    def h{k}(a):
        return a
""",
    """
@overload
def o{k}(a: int) -> int: ...
@overload
def o{k}(a: str) -> str: ...
def o{k}(a):
    return a
""",
    """
@singledispatch
def s{k}(a):
    return 0

@s{k}.register
def _(a: int):
    return 1

@s{k}.register
def _(a: str):
    return 2
""",
    """
def outer{k}(a):
    def inner(b):
        return 1
    return inner

class K{k}:
    n = 0
    def __init__(self):
        self.n = 1
    def inner(self):
        return json.dumps(len([1]))
    class K{k}:
        def inner(self):
            return 3
""",
    "__all__ = ['f{k}']\n\ndef f{k}(x=1):  # one\n    # two\n    return os.sep, x\n# after\n",
]
_BEFORE = [
    "",
    "import json\n",
    "import simplejson as json\n",
    "import ujson\n",
    "from decimal import Decimal\n",
    "from fractions import Fraction as F\n",
    "import types\nimport os.path\n",
    "from os import path as types\n",
    "from builtins import sum as len\n",
    "from os import *\n",
    "try:\n    import ujson\nexcept ImportError:\n    ujson = 1\n",
    "try:\n    import tomllib as toml\nexcept ImportError:\n    toml = None\n",
    "if TYPE_CHECKING:\n    from decimal import Decimal\n",
    "import collections.abc\n",
    "def os():\n    return 1\n\n",
    "def json(): ...\n\n",
    "LIMIT = 3\n",
    "holder = 3\n",
    "A0 = 7\n",
    "def helper(q):\n    return q\n\n",
    "def len(q):\n    return q\n\n",
]
_USE = [
    "json",
    "ujson",
    "Decimal",
    "F",
    "types",
    "len",
    "toml",
    "collections",
    "os",
    "LIMIT",
    "helper",
    "holder",
]
_AFTER = [
    "",
    "\nif __name__ == '__main__':\n    holder = 1\n",
    "\nprint('use')\n",
    "\n# done\n",
    "\nb0 = 3\n",
]


def _dedent(source: str) -> str:
    lines = source.split("\n")
    own = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join(line[own:] for line in lines)


def _variants(source: str, name: str) -> Iterator[str]:
    """The definition as it is, changed, without its decorators, as another of its family, and reduced to a name."""
    yield source
    yield source.replace("return", "return 40 +", 1)
    lines = source.split("\n")
    bare = lines[next((n for n, line in enumerate(lines) if not line.startswith("@")), 0) :]
    yield "\n".join(bare)
    yield f"@{name}.setter\ndef {name}(self, value):\n    self._changed = value\n"
    yield f"def {name}(self, value):\n    self._changed = value\n"
    yield f"@property\ndef {name}(self):\n    return 44\n\n@{name}.setter\ndef {name}(self, v):\n    self.q = v\n"
    yield f"@overload\ndef {name}(a: bytes) -> bytes: ...\n"
    yield f"def {name}(*args):\n    return {_USE}\n"
    yield f"{name} = 41\n"
    yield f"{name} = new = 42\n"
    yield f"@s0.register\ndef {name}(a: str):\n    return 43\n"
    yield f"class P0:\n    '''Doc.'''\n    @property\n    def {name}(self):\n        return 45\n"
    yield f"class K0(dict):\n    def {name}(self):\n        return 46\n"


@st.composite
def _cases(draw: st.DrawFn) -> tuple[str, str, str]:
    """(module, name path, source)"""
    blocks = draw(st.lists(st.sampled_from(_BLOCKS), min_size=1, max_size=4))
    text = _HEAD + "".join(block.format(k=k) for k, block in enumerate(blocks))
    symbol = draw(st.sampled_from([s for s in symbols("m.py", text) if s.name_path != "holder"]))
    source = _dedent(symbol_source(text, symbol).rstrip("\n"))
    name = symbol.name_path.rpartition(".")[2].partition("#")[0]
    body = draw(st.sampled_from(list(_variants(source, name))))
    if draw(st.booleans()):
        body = body.replace("return ", f"return {draw(st.sampled_from(_USE))} and ", 1)
    return text, symbol.name_path, draw(st.sampled_from(_BEFORE)) + body + draw(st.sampled_from(_AFTER))


def _held(text: str) -> dict[str, Any]:
    """What each name of the module holds after it ran, by dotted path; code by its instructions."""
    module = types.ModuleType("m")
    exec(compile(text, "m.py", "exec"), module.__dict__)
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if not name.startswith("__") or name == "__all__":
            _describe(name, value, found)
    return found


def _describe(path: str, value: Any, found: dict[str, Any]) -> None:
    if isinstance(value, types.FunctionType) and hasattr(value, "registry"):
        _describe(f"{path}.base", value.__wrapped__, found)
        for kind, function in value.registry.items():
            _describe(f"{path}.{kind.__name__}", function, found)
    elif isinstance(value, types.FunctionType):
        found[path] = (_code(value.__code__), value.__defaults__, str(value.__annotations__), value.__doc__)
    elif isinstance(value, property):
        for part in ("fget", "fset", "fdel"):
            _describe(f"{path}.{part}", getattr(value, part), found)
    elif isinstance(value, cached_property):
        _describe(f"{path}.fget", value.func, found)
    elif isinstance(value, type) and value.__module__ == "m":
        _describe_class(path, value, found)
    else:
        found[path] = repr(value)


def _describe_class(path: str, value: type, found: dict[str, Any]) -> None:
    found[path] = ("class", [base.__name__ for base in value.__bases__])
    for name, member in vars(value).items():
        if name == "__annotations__":
            found.update({f"{path}.{noted}.annotation": str(note) for noted, note in member.items()})
        elif not name.startswith("__") or name == "__init__":
            _describe(f"{path}.{name}", member, found)


def _code(code: types.CodeType) -> tuple[Any, ...]:
    constants = [_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return (code.co_code, constants, code.co_names, code.co_varnames)


def _named(path: str, name_path: str, value: Any) -> bool:
    """Whether the edit is about what stands there: the definition, what is in it, the function around it, and
    registrations."""
    plain = ".".join(part.partition("#")[0] for part in name_path.split("."))
    return (
        path == plain
        or path.startswith(f"{plain}.")
        or plain == "_"
        or (plain.startswith(f"{path}.") and value[0] != "class")
    )


@pytest.mark.hostile("answers")
@pytest.mark.parametrize("examples", [300, pytest.param(1500, marks=pytest.mark.slow)])
def test_what_an_edit_does_not_name_is_still_there_and_means_the_same(
    examples: int, tried: Callable[[int], None]
) -> None:
    counts: Counter[str] = Counter()

    @settings(max_examples=examples)
    @given(_cases())
    def check(case: tuple[str, str, str]) -> None:
        text, name_path, source = case
        counts["tried"] += 1
        try:
            after = preview(text, ReplaceSymbol(path="m.py", name_path=name_path, source=source))
        except EditRefused as refusal:
            assert refusal.message
            return
        counts["applied"] += 1
        _require_statements(text, after, name_path)
        try:
            now = _held(after)
        except (NameError, TypeError, AttributeError):  # the new source itself does not run
            counts["does not run"] += 1
            return
        before = _held(text)
        lost = {
            path: (value, now.get(path))
            for path, value in before.items()
            if not _named(path, name_path, value) and now.get(path) != value
            # What the new source registers is its own doing.
            if not (path.startswith("s0.") and "@s0.register" in source)
        }
        assert not lost, f"{name_path}\n--- source\n{source}\n--- after\n{after}\n--- lost {lost}"
        _require_one_accessor(before, now, name_path, source)

    check()
    assert counts["applied"] > counts["tried"] / 5, counts
    tried(counts["tried"])


def _require_statements(before: str, after: str, name_path: str) -> None:
    """Every statement outside the edited name is in the new text, as often as before, and in order."""
    plain = name_path.split(".")[0].partition("#")[0]

    def rest(text: str) -> list[str]:
        return [ast.dump(node) for node in ast.parse(text).body if plain not in ast.unparse(node)]

    kept = iter(rest(after))
    for statement in rest(before):
        assert any(statement == other for other in kept), (statement, after)


def _require_one_accessor(before: dict[str, Any], now: dict[str, Any], name_path: str, source: str) -> None:
    """An edit with one definition changes one of a property's three functions, one overload or one registration."""
    if sum(line.lstrip().startswith("def ") for line in source.split("\n")) != 1 or "class " in source:
        return
    plain = name_path.partition("#")[0]
    parts = [
        p for p in before if p.startswith(f"{plain}.f") and p.rpartition(".")[2] in {"fget", "fset", "fdel"}
    ]
    if len(parts) == 3 and all(part in now for part in parts):
        assert sum(before[part] != now[part] for part in parts) <= 1, (name_path, source)


_TRIO = _HEAD + _BLOCKS[0].format(k=0)


@pytest.mark.hostile("answers")
@pytest.mark.parametrize(
    ("name_path", "source", "kept"),
    [
        ("P0.x", "@x.setter\ndef x(self, v):\n    self._x = 5\n", ["return 1", "del self._x"]),
        ("P0.x.setter", "@x.setter\ndef x(self, v):\n    self._x = 5\n", ["return 1", "del self._x"]),
        ("P0.x.deleter", "def x(self):\n    self._x = 5\n", ["return 1", "self._x = v"]),
        ("P0.x#3", "@x.deleter\ndef x(self):\n    self._x = 5\n", ["return 1", "self._x = v"]),
        ("x.deleter", "@x.deleter\ndef x(self):\n    self._x = 5\n", ["return 1", "self._x = v"]),
        ("P0.x", "@property\ndef x(self):\n    self._x = 5\n", ["self._x = v", "del self._x", "# the x"]),
    ],
)
def test_one_of_a_property_is_addressed_by_its_decorator(
    name_path: str, source: str, kept: list[str]
) -> None:
    after = preview(_TRIO, ReplaceSymbol(path="m.py", name_path=name_path, source=source))
    assert all(words in after for words in [*kept, "self._x = 5"])


@pytest.mark.hostile("answers")
@pytest.mark.parametrize(
    ("text", "name_path", "source", "words"),
    [
        (_TRIO, "P0.x", "def x(self, v):\n    self._x = 5\n", "property's setter"),
        (_TRIO, "P0.x#3", "@x.setter\ndef x(self, v):\n    pass\n", "P0.x#2"),
        ("A, B = 1, 2\n", "A", "A = 3\n", "together with B"),
        ("a = b = 1\n", "b", "b = 3\n", "together with a"),
        ("o.p = a = 1\n", "a", "a = 3\n", "together with o.p"),
        ("import numpy as np\ndef f(): ...\n", "f", "import os as np\ndef f():\n    np\n", "what np means"),
        ("def f(): ...\nlen\n", "f", "def len(): ...\ndef f():\n    len\n", "Give it another name"),
        ("def f(): ...\n", "f", "from os import *\ndef f():\n    sep\n", "Import what you use"),
        ("class C(B):\n    def f(self): ...\n", "f", "class C(D):\n    def f(self): 1\n", "head of class C"),
    ],
)
def test_what_would_lose_code_is_refused_in_words(text: str, name_path: str, source: str, words: str) -> None:
    with pytest.raises(EditRefused, match=words):
        preview(text, ReplaceSymbol(path="m.py", name_path=name_path, source=source))


# --- languages with braces -------------------------------------------------------------------------

_TS = """class C {
  get x(): number { return 1; }
  set x(v: number) { this.y = v; }
  static x() {}
  only() {}
}
function o(a: string): string;
function o(a: number): number;
function o(a: any): any { return a; }
"""
_CPP = "int f(int a) {\n  return 1;\n}\nint f(double a) {\n  return 2;\n}\nint f();\n"
_NEW = {
    ".ts": {
        "get x(): number { return 9; }": "get", "set x(v: number) { this.z = 9; }": "set", 
        "static x() { 9; }": "static",
        "x() { return 9; }": "", "get x(): number { return 9; }\nset x(v: number) { 9; }": "both",
    },
    ".cpp": {"int f(int a) {\n  return 9;\n}": "int", "int f(double a) {\n  return 9;\n}": "double",
             "int f(char a) {\n  return 9;\n}": ""},
}  # fmt: skip


@pytest.mark.hostile("answers")
def test_in_braces_an_edit_replaces_the_one_that_it_writes_or_is_refused(
    tried: Callable[[int], None],
) -> None:
    count = 0
    for suffix, text, name in ((".ts", _TS, "C.x"), (".cpp", _CPP, "f")):
        for source, role in _NEW[suffix].items():
            for path in (name, f"{name}#1", f"{name}#2", f"{name}#3"):
                count += 1
                try:
                    after = preview(text, ReplaceSymbol(path=f"a{suffix}", name_path=path, source=source))
                except EditRefused as refusal:
                    assert f"{name}#2" in refusal.message, refusal.message
                    continue
                if suffix == ".ts":
                    both = zip(text.split("\n"), after.split("\n"), strict=True)
                    heads = [old.split()[0] for old, new in both if old != new]
                    assert heads == (["get", "set"] if role == "both" else [role]), (path, source, after)
                else:
                    kept = [
                        one for one in ("int a) {\n  return 1;", "double a) {\n  return 2;") if one in after
                    ]
                    kept += ["" for one in ("int f();",) if one not in after]  # the declaration was the one
                    assert len(kept) == (3 if "" in kept else 1) and after.count("return 9;") == 1, (
                        path,
                        source,
                        after,
                    )
                    assert not role or not kept[0].startswith(role), (path, source, after)
    tried(count)


@pytest.mark.parametrize(
    ("name_path", "source"),
    [
        ("C.x", "set x(v: number) { this.z = 9; }"),
        ("C.x#2", "set x(v: number) { this.z = 9; }"),
        ("C.x#1", "get x(): number { return 9; }"),
        ("C.x", "set x(v: number) { 9; }\nget x(): number { return 9; }"),
        ("o", "function o(a: any): any { return 9; }"),
    ],
)
def test_in_braces_these_are_clear(name_path: str, source: str) -> None:
    after = preview(_TS, ReplaceSymbol(path="a.ts", name_path=name_path, source=source))
    assert "9" in after and after.count("get x") == after.count("set x") == 1


def test_a_guarded_import_comes_along_as_it_is() -> None:
    source = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from decimal import Decimal\n"
        "try:\n    import orjson\nexcept ImportError:\n    orjson = None\n\n"
        "def f(a: 'Decimal'):\n    return orjson\n"
    )
    after = preview(
        "import os\n\n\ndef f():\n    return os\n", ReplaceSymbol(path="m.py", name_path="f", source=source)
    )
    assert after == (
        "import os\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from decimal import Decimal\n"
        "try:\n    import orjson\nexcept ImportError:\n    orjson = None\n\n\n"
        "def f(a: 'Decimal'):\n    return orjson\n"
    )
