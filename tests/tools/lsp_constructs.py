# ruff: noqa: E501
"""Small programs in which a name is bound to its uses in many ways: what a rename has to reach, or say that it did not.

Each `Construct` is a repository with a script that prints something, a definition to rename, and the new name. After
the rename the script prints the same, or the answer has said that it is not complete.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Construct:
    name: str
    files: Mapping[str, str]
    symbol: str
    """`FILE:NAME_PATH`."""
    new: str = "renewed"
    complete: bool | None = None
    """True: it has to be done completely. None: either completely, or it says that it is not."""
    calls: tuple[str, ...] = ()
    """`FILE:LINE` of each line that calls the symbol when the script runs."""
    path: str = ""
    """PYTHONPATH of the script, relative, colons between."""
    taken: bool = False
    """The new name has to be refused."""


LIB = "def total(xs):\n    return sum(xs)\n"


def _function_uses() -> Iterator[Construct]:
    """One function, used by a `main.py` in one way."""
    direct = {
        "from_import": "from lib import total\nprint(total([1, 2]))\n",
        "module": "import lib\nprint(lib.total([1, 2]))\n",
        "module_alias": "import lib as l\nprint(l.total([1, 2]))\n",
        "name_alias": "from lib import total as t\nprint(t([1, 2]))\n",
        "same_alias": "from lib import total as total\nprint(total([1, 2]))\n",
        "several_lines": "from lib import (\n    total,  # the sum\n)\nprint(total([1, 2]))\n",
        "f_string": "from lib import total\nprint(f'{total([1, 2])} {total([3])!r:>4}')\n",
        "nested": "from lib import total\ndef f():\n    def g():\n        return total([1, 2])\n    return g\nprint(f()())\n",
        "local_import": "def f():\n    from lib import total\n    return total([1, 2])\nprint(f())\n",
        "lambda_default": "from lib import total\nprint((lambda f=total: f([1]))())\n",
        "parenthesised": "import lib\nprint((lib\n    .total)([1, 2]))\n",
        "walrus": "from lib import total\nif (n := total([1, 2])) > 2:\n    print(n)\n",
        "comprehension": "from lib import total\nprint([total([x]) for x in (1, 2)])\n",
        "keyword_of_same_name": "from lib import total\ndef f(total=0):\n    return total\nprint(f(total=total([1])))\n",
        "local_of_same_name": "import lib\ndef f():\n    total = lib.total([4])\n    return total\nprint(f())\n",
        "unrelated_class": "from lib import total\nclass C:\n    def total(self):\n        return 1\nprint(C().total(), total([2]))\n",
    }
    for name, main in direct.items():
        yield Construct(f"function_{name}", {"lib.py": LIB, "main.py": main}, "lib.py:total", complete=True)
    doubtful = {
        "getattr": "import lib\nprint(getattr(lib, 'total')([1, 2]))\n",
        "globals": "from lib import *\nprint(globals()['total']([1, 2]))\n",
        "vars": "import lib\nprint(vars(lib)['total']([1, 2]))\n",
        "dict": "import lib\nprint(lib.__dict__['total']([1, 2]))\n",
        "star": "from lib import *\nprint(total([1, 2]))\n",
        "import_module": "import importlib\nprint(importlib.import_module('lib').total([1, 2]))\n",
        "dunder_import": "print(__import__('lib').total([1, 2]))\n",
        "eval": "import lib\nprint(eval('lib.total([1, 2])'))\n",
        "exec": "exec('''\nfrom lib import total\nprint(total([1, 2]))\n''')\n",
        "attrgetter": "import lib, operator\nprint(operator.attrgetter('total')(lib)([1, 2]))\n",
        "methodcaller": "import lib, operator\nprint(operator.methodcaller('total', [1, 2])(lib))\n",
        "patch": "import lib, unittest.mock as m\nwith m.patch('lib.total', lambda x: 9):\n    print(lib.total([1]))\n",
        "setattr": "import lib\nsetattr(lib, 'total', lambda xs: 7)\nprint(lib.total([1]))\n",
        "entry": "import importlib\nm, _, a = 'lib:total'.partition(':')\nprint(getattr(importlib.import_module(m), a)([1]))\n",
        "split": "import lib\nprint([getattr(lib, n)([1]) for n in 'total'.split()])\n",
        "words": "import lib\nprint([getattr(lib, n, print) for n in 'total other thing more'.split()][0]([5]))\n",
        "format": "import lib\nprint('{0.total.__name__}'.format(lib) and '{0.total.__module__}'.format(lib))\n",
        "untyped": "import lib\ndef call(module):\n    return module.total([1, 2])\nprint(call(lib))\n",
        "json": "import json, lib\nprint(getattr(lib, json.load(open('conf.json'))['run'])([1]))\n",
        "yaml": "import lib\nprint(getattr(lib, open('conf.yaml').read().split(': ')[1].strip())([1]))\n",
        "prefix": "import lib\nprint(getattr(lib, 'to' + 'tal', None) is not None and 1)\n",
    }
    more = {"conf.json": '{"run": "total"}\n', "conf.yaml": "run: total\n"}
    for name, main in doubtful.items():
        extra = {key: text for key, text in more.items() if key in main}
        if name == "prefix":
            continue  # a name that is put together of parts of words is nowhere: said in the docs
        yield Construct(f"function_{name}", {"lib.py": LIB, "main.py": main, **extra}, "lib.py:total")


def _packages() -> Iterator[Construct]:
    yield Construct(
        "reexport",
        {
            "pkg/__init__.py": "from pkg.lib import total as total\n__all__ = ['total']\n",
            "pkg/lib.py": LIB,
            "main.py": "from pkg import total\nprint(total([1]))\n",
        },
        "pkg/lib.py:total", complete=True,
    )  # fmt: skip
    yield Construct(
        "all_star",
        {
            "pkg/__init__.py": "from .lib import *\n",
            "pkg/lib.py": "__all__ = ['total', 'other']\n" + LIB + "other = 1\n",
            "main.py": "from pkg import *\nprint(total([1]), other)\n",
        },
        "pkg/lib.py:total",
    )  # fmt: skip
    yield Construct(
        "all_augmented",
        {
            "lib.py": "__all__ = []\n__all__ += ['total']\n" + LIB,
            "main.py": "from lib import *\nprint(total([1]))\n",
        },
        "lib.py:total",
    )
    yield Construct(
        "all_appended",
        {
            "lib.py": "__all__ = []\n__all__.append('total')\n" + LIB,
            "main.py": "from lib import *\nprint(total([1]))\n",
        },
        "lib.py:total",
    )
    yield Construct(
        "relative",
        {
            "pkg/__init__.py": "",
            "pkg/lib.py": LIB,
            "pkg/use.py": "from .lib import total\nfrom . import lib\ndef f():\n    return total([1]) + lib.total([2])\n",
            "main.py": "from pkg.use import f\nprint(f())\n",
        },
        "pkg/lib.py:total", complete=True,
    )  # fmt: skip
    yield Construct(
        "stub",
        {"lib.py": LIB, "lib.pyi": "def total(xs: list[int]) -> int: ...\n", "main.py": "from lib import total\nprint(total([1]))\n"},
        "lib.py:total",
    )  # fmt: skip
    yield Construct(
        "lazy_module",
        {
            "pkg/__init__.py": "def __getattr__(name):\n    import pkg.lib\n    return getattr(pkg.lib, name)\n",
            "pkg/lib.py": LIB,
            "main.py": "import pkg\nprint(pkg.total([1]))\n",
        },
        "pkg/lib.py:total",
    )  # fmt: skip
    for layout, path in {"libs/a/src/a": "libs/a/src", "packages/a/a": "packages/a", "src/a": "src"}.items():
        yield Construct(
            f"layout_{layout.replace('/', '_')}",
            {
                f"{layout}/__init__.py": "",
                f"{layout}/lib.py": LIB,
                f"{path.removesuffix('src').rstrip('/') or '.'}/pyproject.toml": "[project]\nname = 'a'\nversion = '1'\n",
                "apps/main.py": "from a.lib import total\nprint(total([1]))\n",
            },
            f"{layout}/lib.py:total", path=path,
        )  # fmt: skip
    yield Construct(
        "monorepo_both",
        {
            "libs/a/src/a/__init__.py": "", "libs/a/src/a/lib.py": LIB,
            "libs/a/pyproject.toml": "[project]\nname = 'a'\nversion = '1'\n",
            "libs/b/pyproject.toml": "[project]\nname = 'b'\nversion = '1'\n",
            "libs/b/src/b/__init__.py": "from a.lib import total\n",
            "libs/b/src/b/use.py": "import a.lib\nfrom b import total\ndef f():\n    return total([1]) + a.lib.total([2])\n",
            "main.py": "from b.use import f\nprint(f())\n",
        },
        "libs/a/src/a/lib.py:total", path="libs/a/src:libs/b/src", complete=True,
    )  # fmt: skip
    yield Construct(
        "sys_path",
        {"deep/er/lib.py": LIB, "main.py": "import sys\nsys.path.insert(0, 'deep/er')\nfrom lib import total\nprint(total([1]))\n"},
        "deep/er/lib.py:total",
    )  # fmt: skip
    yield Construct(
        "ignored_by_git",
        {".gitignore": "gen.py\n", "gen.py": "from lib import total\n", "lib.py": LIB, "main.py": "import gen\nprint(gen.total([1]))\n"},
        "lib.py:total",
    )  # fmt: skip


def _twins() -> Iterator[Construct]:
    twins = {
        "try_def": "try:\n    import numpyx\n    def total(xs):\n        return numpyx.sum(xs)\nexcept ImportError:\n    def total(xs):\n        return sum(xs)\n",
        "if_def": "import sys\nif sys.version_info >= (4,):\n    def total(xs):\n        return 1\nelse:\n    def total(xs):\n        return sum(xs)\n",
        "redefined": "def total(xs):\n    return 1\ntotal = lambda xs: sum(xs)\n",
        "decorated": "def twice(f):\n    return lambda xs: 2 * f(xs)\n@twice\ndef total(xs):\n    return sum(xs)\n",
        "singledispatch": "import functools\n@functools.singledispatch\ndef total(xs):\n    return sum(xs)\n@total.register\ndef _(xs: str):\n    return len(xs)\n",
        "overload": "from typing import overload\n@overload\ndef total(xs: list) -> int: ...\n@overload\ndef total(xs: tuple) -> int: ...\ndef total(xs):\n    return sum(xs)\n",
        "global": "total = None\ndef setup():\n    global total\n    total = sum\nsetup()\n",
        "deleted": "def total(xs):\n    return sum(xs)\nkept = total\ndel total\ndef total(xs):\n    return kept(xs)\n",
        "loop": "for total in (max, sum):\n    pass\n",
        "with": "import contextlib\nwith contextlib.nullcontext(sum) as total:\n    pass\n",
        "import_then_def": "from math import fsum as total\ndef total(xs):\n    return sum(xs)\n",
    }
    main = "from lib import total\nprint(total([1, 2]))\n"
    for name, lib in twins.items():
        yield Construct(f"twin_{name}", {"lib.py": lib, "main.py": main}, "lib.py:total")
        if "try_def" in name or "if_def" in name:
            yield Construct(f"twin_second_{name}", {"lib.py": lib, "main.py": main}, "lib.py:total#2")
    for first in ("fast", "slow"):
        yield Construct(
            f"twin_imports_{first}",
            {
                "fast.py": LIB, "slow.py": LIB,
                "main.py": "try:\n    from fast import total\nexcept ImportError:\n    from slow import total\nprint(total([1]))\n",
            },
            f"{first}.py:total",
        )  # fmt: skip
    yield Construct(
        "type_checking",
        {
            "lib.py": "class Total:\n    value = 3\n",
            "main.py": "from __future__ import annotations\nfrom typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
            "    from lib import Total\ndef f(t: Total, u: 'Total', v: 'list[Total]') -> None: ...\n"
            "import lib, typing\nprint(typing.get_type_hints(f, vars(lib)) and 1)\n",
        },
        "lib.py:Total",
    )  # fmt: skip


SHAPES = "class Base:\n    def area(self):\n        return 1\nclass Square(Base):\n    def area(self):\n        return super().area() + 1\n"


def _members() -> Iterator[Construct]:
    yield Construct(
        "method", {"lib.py": "class Cart:\n    def total(self):\n        return 1\n    def both(self):\n        return self.total() + Cart.total(self)\n",
                   "main.py": "from lib import Cart\nc = Cart()\nprint(c.total(), c.both())\n"}, "lib.py:Cart.total", complete=True,
    )  # fmt: skip
    yield Construct(
        "unrelated_members",
        {"lib.py": "class Cart:\n    def total(self):\n        return 1\nclass Order:\n    def total(self):\n        return 2\n",
         "main.py": "from lib import Cart, Order\nprint(Cart().total(), Order().total())\n"},
        "lib.py:Cart.total", complete=True,
    )  # fmt: skip
    for name, symbol in (("base", "Base.area"), ("override", "Square.area")):
        yield Construct(
            f"override_{name}", {"lib.py": SHAPES, "main.py": "from lib import *\nfor s in (Base(), Square()):\n    print(s.area())\n"},
            f"lib.py:{symbol}",
        )  # fmt: skip
    yield Construct(
        "protocol",
        {"lib.py": "from typing import Protocol\nclass HasArea(Protocol):\n    def area(self) -> int: ...\nclass Square:\n    def area(self) -> int:\n        return 4\n"
                   "def show(s: HasArea) -> int:\n    return s.area()\n", "main.py": "from lib import show, Square\nprint(show(Square()))\n"},
        "lib.py:Square.area",
    )  # fmt: skip
    yield Construct(
        "abstract",
        {"lib.py": "import abc\nclass Shape(abc.ABC):\n    @abc.abstractmethod\n    def area(self): ...\n", "sub.py": "import lib\nclass Square(lib.Shape):\n    def area(self):\n        return 4\n",
         "main.py": "from sub import Square\nprint(Square().area())\n"},
        "sub.py:Square.area",
    )  # fmt: skip
    yield Construct(
        "mixin",
        {"lib.py": "class Mixin:\n    def show(self):\n        return self.area()\nclass Square:\n    def area(self):\n        return 4\nclass Both(Square, Mixin):\n    pass\n",
         "main.py": "from lib import Both\nprint(Both().show())\n"},
        "lib.py:Square.area",
    )  # fmt: skip
    yield Construct(
        "library_override",
        {"lib.py": "import json\nclass Enc(json.JSONEncoder):\n    def default(self, o):\n        return 'x'\n", "main.py": "import json, lib\nprint(json.dumps({1: object()}, cls=lib.Enc))\n"},
        "lib.py:Enc.default",
    )  # fmt: skip
    yield Construct(
        "visitor",
        {"lib.py": "import ast\nclass V(ast.NodeVisitor):\n    def visit_Name(self, node):\n        print(node.id)\n", "main.py": "import ast, lib\nlib.V().visit(ast.parse('a'))\n"},
        "lib.py:V.visit_Name",
    )  # fmt: skip
    yield Construct(
        "prefix_dispatch",
        {"lib.py": "class Shell:\n    def cmd_go(self):\n        return 'went'\n    def run(self, word):\n        return getattr(self, 'cmd_' + word)()\n",
         "main.py": "from lib import Shell\nprint(Shell().run('go'))\n"},
        "lib.py:Shell.cmd_go",
    )  # fmt: skip
    yield Construct(
        "f_string_dispatch",
        {"lib.py": "class Shell:\n    def go_cmd(self):\n        return 'went'\n    def run(self, word):\n        return getattr(self, f'{word}_cmd')()\n",
         "main.py": "from lib import Shell\nprint(Shell().run('go'))\n"},
        "lib.py:Shell.go_cmd",
    )  # fmt: skip
    yield Construct(
        "dunder", {"lib.py": "class C:\n    def __len__(self):\n        return 3\n", "main.py": "from lib import C\nprint(len(C()))\n"},
        "lib.py:C.__len__",
    )  # fmt: skip
    yield Construct(
        "property_setter",
        {"lib.py": "class C:\n    _v = 1\n    @property\n    def v(self):\n        return self._v\n    @v.setter\n    def v(self, x):\n        self._v = x\n",
         "main.py": "from lib import C\nc = C()\nc.v = 4\nprint(c.v)\n"},
        "lib.py:C.v",
    )  # fmt: skip
    yield Construct(
        "slots", {"lib.py": "class C:\n    __slots__ = ('size',)\n    size: int\n", "main.py": "from lib import C\nc = C()\nc.size = 4\nprint(c.size)\n"},
        "lib.py:C.size",
    )  # fmt: skip
    yield Construct(
        "unittest_name",
        {"lib.py": "import unittest\nclass T(unittest.TestCase):\n    def test_it(self):\n        print('ran')\n", "main.py": "import lib, unittest\nunittest.main('lib', argv=['x'], exit=False)\n"},
        "lib.py:T.test_it",
    )  # fmt: skip


FIELDS = {
    "dataclass": "from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int = 0\n    y: int = 0\n",
    "named_tuple": "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int = 0\n    y: int = 0\n",
    "plain": "class P:\n    __match_args__ = ('x', 'y')\n    x: int = 0\n    y: int = 0\n    def __init__(self, x=0, y=0):\n        self.x, self.y = x, y\n",
    "slots": "from dataclasses import dataclass\n@dataclass(slots=True, kw_only=True)\nclass P:\n    x: int = 0\n    y: int = 0\n",
}
FIELD_USES = {
    "attribute": "print(P().x)\n",
    "stored": "p = P()\ntry:\n    p.x = 4\nexcept AttributeError:\n    pass\nprint(p.x)\n",
    "keyword": "print(P(x=3).x)\n",
    "keyword_dict": "print(P(**{'x': 3}).x)\n",
    "keyword_dict_call": "print(P(**dict(x=3)).x)\n",
    "pattern": "match P(x=3):\n    case P(x=3):\n        print('three')\n    case _:\n        print('other')\n",
    "replace": "import dataclasses\np = P()\nprint(dataclasses.replace(p, x=5).x if dataclasses.is_dataclass(p) else p._replace(x=5).x if hasattr(p, '_replace') else p.x)\n",
    "asdict": "import dataclasses\nprint(dataclasses.asdict(P())['x'] if dataclasses.is_dataclass(P()) else P().x)\n",
    "getattr": "print(getattr(P(), 'x'))\n",
    "attrgetter": "import operator\nprint(sorted([P(), P()], key=operator.attrgetter('x'))[0].y)\n",
    "format": "print('{p.x}'.format(p=P()), '%d' % P().x)\n",
    "f_string": "p = P()\nprint(f'{p.x=}'.split('=')[1])\n",
    "debug_f_string": "p = P()\nprint(f'{p.x = }'[-1])\n",
    "untyped": "def f(p):\n    return p.x\nprint(f(P()))\n",
    "subclass": "class Q(P):\n    z = 1\nprint(Q(x=2).x)\n",
    "subclass_override": "class Q(P):\n    x = 7\nprint(Q.x)\n",
    "partial": "import functools\nprint(functools.partial(P, x=3)().x)\n",
    "vars": "print(vars(P()).get('x', 0) if hasattr(P(), '__dict__') else P().x)\n",
    "exec": "exec('print(P().x)')\n",
    "lambda": "print((lambda p: p.x)(P()))\n",
    "map": "print(list(map(lambda p: p.x, [P()])))\n",
    "delattr": "p = P()\ntry:\n    del p.x\nexcept (AttributeError, TypeError):\n    pass\nprint(p.y)\n",
}  # fmt: skip


def _fields() -> Iterator[Construct]:
    for kind, lib in FIELDS.items():
        for use, main in FIELD_USES.items():
            yield Construct(
                f"field_{kind}_{use}",
                {"lib.py": lib, "main.py": f"from lib import P\n{main}"},
                "lib.py:P.x",
                new="ex",
            )
    yield Construct(
        "typed_dict", {"lib.py": "from typing import TypedDict\nclass T(TypedDict):\n    x: int\n", "main.py": "from lib import T\nt: T = {'x': 1}\nprint(t['x'])\n"},
        "lib.py:T.x", new="ex",
    )  # fmt: skip
    yield Construct(
        "enum_by_name", {"lib.py": "import enum\nclass Color(enum.Enum):\n    RED = 1\n", "main.py": "from lib import Color\nprint(Color['RED'].value, Color.RED.value)\n"},
        "lib.py:Color.RED", new="ROT",
    )  # fmt: skip
    yield Construct(
        "enum_member_name", {"lib.py": "import enum\nclass Color(enum.Enum):\n    RED = 1\n", "main.py": "from lib import Color\nprint({c.name: c.value for c in Color}['RED'])\n"},
        "lib.py:Color.RED", new="ROT",
    )  # fmt: skip


def _classes() -> Iterator[Construct]:
    lib = "class Cart:\n    n = 3\n"
    uses = {
        "annotation": "from lib import Cart\ndef f(c: Cart) -> Cart:\n    return c\nprint(f(Cart()).n)\n",
        "string_annotation": "import typing, lib\ndef f(c: 'lib.Cart') -> 'lib.Cart': ...\nprint(len(typing.get_type_hints(f)))\n",
        "isinstance": "import lib\nprint(isinstance(lib.Cart(), lib.Cart))\n",
        "subclass": "from lib import Cart\nclass Big(Cart):\n    pass\nprint(Big.n)\n",
        "pattern": "from lib import Cart\nmatch Cart():\n    case Cart():\n        print('cart')\n",
        "except": "from lib import Cart\ntry:\n    print(Cart.n)\nexcept (ValueError, TypeError):\n    pass\n",
        "cast": "import typing, lib\nprint(typing.cast('lib.Cart', lib.Cart()).n)\n",
        "class_name": "import lib\nprint('Cart' == lib.Cart.__name__)\n",
        "subclasses": "import lib\nprint({c.__name__: c for c in object.__subclasses__()}['Cart'].n)\n",
        "type_comment": "from lib import Cart\nx = Cart()  # type: Cart\nprint(x.n)\n",
        "forward": "from lib import Cart\nclass Node:\n    child: 'Cart | None' = None\nimport typing\nprint(len(typing.get_type_hints(Node)))\n",
    }
    for name, main in uses.items():
        done = True if name in ("annotation", "isinstance", "subclass", "pattern", "except") else None
        yield Construct(
            f"class_{name}", {"lib.py": lib, "main.py": main}, "lib.py:Cart", new="Basket", complete=done
        )


def _by_name() -> Iterator[Construct]:
    yield Construct(
        "doctest", {"lib.py": 'def total(xs):\n    """Sum.\n\n    >>> total([1])\n    1\n    """\n    return sum(xs)\n', "main.py": "import doctest, lib\nprint(doctest.testmod(lib).failed)\n"},
        "lib.py:total",
    )  # fmt: skip
    yield Construct(
        "doctest_file", {"lib.py": LIB, "README.md": "Use it:\n\n>>> from lib import total\n>>> total([1])\n1\n", "main.py": "import doctest\nprint(doctest.testfile('README.md').failed)\n"},
        "lib.py:total",
    )  # fmt: skip
    yield Construct(
        "registry",
        {"lib.py": "HANDLERS = {}\ndef handler(f):\n    HANDLERS[f.__name__] = f\n    return f\n@handler\ndef total(xs):\n    return sum(xs)\n", "main.py": "import lib\nprint(lib.HANDLERS['total']([1]))\n"},
        "lib.py:total",
    )  # fmt: skip
    yield Construct(
        "fixture",
        {"lib.py": "F = {}\ndef fixture(f):\n    F[f.__name__] = f\n    return f\n@fixture\ndef cart():\n    return 3\n",
         "main.py": "import inspect, lib\ndef check(cart):\n    return cart\nprint(check(**{n: lib.F[n]() for n in inspect.signature(check).parameters}))\n"},
        "lib.py:cart",
    )  # fmt: skip
    yield Construct(
        "namedtuple_words", {"lib.py": "class Cart:\n    size = 3\n", "main.py": "import collections, lib\nT = collections.namedtuple('T', 'size name')\nprint(T(getattr(lib.Cart, 'size'), 1).size)\n"},
        "lib.py:Cart.size",
    )  # fmt: skip


def _taken() -> Iterator[Construct]:
    def one(name: str, new: str, files: Mapping[str, str], symbol: str = "lib.py:total") -> Construct:
        return Construct(f"taken_{name}", files, symbol, new=new, taken=True)

    use = "from lib import total\n"
    yield one("function", "other", {"lib.py": LIB + "def other(): ...\n", "main.py": use})
    yield one("variable", "other", {"lib.py": LIB + "other = 1\n", "main.py": use})
    yield one("import", "other", {"lib.py": "import os as other\n" + LIB, "main.py": use})
    yield one("class", "Other", {"lib.py": LIB + "class Other: ...\n", "main.py": use})
    yield one("builtin", "sum", {"lib.py": LIB, "main.py": use})
    yield one("builtin_unused", "len", {"lib.py": LIB, "main.py": use})
    yield one("keyword", "class", {"lib.py": LIB, "main.py": use})
    yield one("none", "None", {"lib.py": LIB, "main.py": use})
    yield one("no_name", "a b", {"lib.py": LIB, "main.py": use})
    yield one("digit", "1a", {"lib.py": LIB, "main.py": use})
    yield one("itself", "total", {"lib.py": LIB, "main.py": use})
    yield one("in_importer", "other", {"lib.py": LIB, "main.py": use + "other = 3\nprint(total([other]))\n"})
    yield one(
        "imported_in_importer",
        "path",
        {"lib.py": LIB, "main.py": use + "from os import path\nprint(total([1]), path)\n"},
    )
    yield one(
        "parameter",
        "other",
        {"lib.py": LIB, "main.py": use + "def f(other):\n    return total([other])\nprint(f(1))\n"},
    )
    yield one(
        "local",
        "other",
        {"lib.py": LIB, "main.py": use + "def f():\n    other = 1\n    return total([other])\nprint(f())\n"},
    )
    yield one(
        "comprehension",
        "other",
        {"lib.py": LIB, "main.py": use + "print([total([other]) for other in (1, 2)])\n"},
    )
    yield one(
        "enclosing",
        "other",
        {
            "lib.py": LIB,
            "main.py": use
            + "def f():\n    other = 1\n    def g():\n        return total([1])\n    return g, other\nprint(f()[0]())\n",
        },
    )
    yield one(
        "loop", "other", {"lib.py": LIB, "main.py": use + "for other in (1, 2):\n    print(total([other]))\n"}
    )
    yield one("walrus", "other", {"lib.py": LIB, "main.py": use + "print((other := 1), total([1]))\n"})
    yield one(
        "except",
        "other",
        {
            "lib.py": LIB,
            "main.py": use + "try:\n    print(total([1]))\nexcept ValueError as other:\n    pass\n",
        },
    )
    yield one(
        "global", "other", {"lib.py": LIB + "def f():\n    global other\n    other = 1\n", "main.py": use}
    )
    yield one(
        "module", "mod", {"lib/__init__.py": LIB, "lib/mod.py": "", "main.py": use}, "lib/__init__.py:total"
    )
    cart = "class Cart:\n    size = 1\n    def total(self):\n        return self.size\n"
    yield one("member", "size", {"lib.py": cart, "main.py": ""}, "lib.py:Cart.total")
    held = "class Cart:\n    def __init__(self):\n        self.size = 1\n    def total(self):\n        return self.size\n"
    yield one("instance_attribute", "size", {"lib.py": held, "main.py": ""}, "lib.py:Cart.total")
    sub = "class Base:\n    def size(self): ...\nclass Cart(Base):\n    def total(self): ...\n"
    yield one("inherited", "size", {"lib.py": sub, "main.py": ""}, "lib.py:Cart.total")
    deep = "class Cart:\n    def total(self): ...\nclass Big(Cart):\n    def size(self): ...\n"
    yield one("of_a_subclass", "size", {"lib.py": deep, "main.py": ""}, "lib.py:Cart.total")
    library = "import threading\nclass Worker(threading.Thread):\n    def total(self): ...\n"
    yield one("of_a_library", "start", {"lib.py": library, "main.py": ""}, "lib.py:Worker.total")
    yield one("field", "y", {"lib.py": FIELDS["dataclass"], "main.py": ""}, "lib.py:P.x")


def constructs() -> list[Construct]:
    found = [
        *_function_uses(), *_packages(), *_twins(), *_members(), *_fields(), *_classes(), *_by_name(), *_taken(),
    ]  # fmt: skip
    assert len({one.name for one in found}) == len(found)
    return found


@dataclass
class Called:
    """A program with a function that is called at one place, in a way."""

    name: str
    files: Mapping[str, str]
    symbol: str
    place: str
    """`FILE:LINE`."""
    path: list[str] = field(default_factory=list)


def called() -> list[Called]:
    uses = {
        "direct": "from lib import total\nprint(total([1]))\n",
        "alias": "from lib import total as t\nprint(t([1]))\n",
        "module": "import lib\nprint(lib.total([1]))\n",
        "value": "from lib import total\nprint(list(map(total, [[1]])))\n",
        "assigned": "from lib import total\nf = total; print(f([1]))\n",
        "table": "from lib import total\nprint({'a': total}['a']([1]))\n",
        "getattr": "import lib\nprint(getattr(lib, 'total')([1]))\n",
        "untyped": "import lib\nprint((lambda m: m.total([1]))(lib))\n",
        "default": "from lib import total\nprint((lambda f=total: f([1]))())\n",
        "decorator": "from lib import total\nprint(total([1])); @total\nclass C: ...\n",
        "star": "from lib import *\nprint(total([1]))\n",
        "import_module": "import importlib\nprint(importlib.import_module('lib').total([1]))\n",
        "patch": "import unittest.mock as m, lib\nm.patch('lib.total'); print(lib.total([1]))\n",
    }
    uses.pop("decorator")
    found = [Called(n, {"lib.py": LIB, "main.py": m}, "lib.py:total", "main.py:2") for n, m in uses.items()]
    found.append(
        Called("override", {"lib.py": SHAPES, "main.py": "from lib import *\nprint([s.area() for s in (Base(), Square())])\n"},
               "lib.py:Square.area", "main.py:2")
    )  # fmt: skip
    found.append(
        Called("through_base", {"lib.py": SHAPES, "main.py": "from lib import Base, Square\ndef f(s: Base): return s.area()\nprint(f(Square()))\n"},
               "lib.py:Square.area", "main.py:2")
    )  # fmt: skip
    found.append(
        Called("twin", {"fast.py": LIB, "slow.py": LIB, "main.py": "try:\n    from fast import total\nexcept ImportError:\n    from slow import total\nprint(total([1]))\n"},
               "slow.py:total", "main.py:5")
    )  # fmt: skip
    found.append(
        Called("monorepo", {"libs/a/src/a/__init__.py": "", "libs/a/src/a/lib.py": LIB, "apps/main.py": "from a.lib import total\nprint(total([1]))\n"},
               "libs/a/src/a/lib.py:total", "apps/main.py:2")
    )  # fmt: skip
    found.append(
        Called("missing_package", {"deep/er/lib.py": LIB, "main.py": "from lib import total\nprint(total([1]))\n"},
               "deep/er/lib.py:total", "main.py:2")
    )  # fmt: skip
    found.append(
        Called("config", {"lib.py": LIB, "pyproject.toml": "[project.scripts]\nrun = 'lib:total'\n", "main.py": ""}, "lib.py:total", "pyproject.toml:2")
    )  # fmt: skip
    return found
