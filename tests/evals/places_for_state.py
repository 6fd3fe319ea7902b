# ruff: noqa: E501 - a place a line
"""Places in which a program could keep a number from one test to the next, each as code.

`programs()` makes a judged program of each: it reads the number there, adds one, puts it back and answers with it. In a
fresh process the answer is always 1.
"""

from __future__ import annotations

import re
import sys

from forklock.sandbox import Sandbox

_GET_PUT: dict[str, tuple[str, str]] = {
    # objects of the interpreter and of its library: an expression that reads, a statement that writes
    "a module's dictionary": ("math.__dict__.get('k', 0)", "math.__dict__['k'] = n"),
    "a module's attribute": ("getattr(json.decoder, 'k', 0)", "json.decoder.k = n"),
    "a module under another name": ("getattr(BOX[0], 'k', 0)", "setattr(BOX[0], 'k', n)"),
    "type's own setter": ("getattr(math, 'k', 0)", "type(math).__setattr__(math, 'k', n)"),
    "sys.modules": ("sys.modules.get('k', 0)", "sys.modules['k'] = n"),
    "a module's own list": ("len(keyword.kwlist) - 35", "keyword.kwlist.append('k')"),
    "a module's own dictionary": (
        "copyreg.dispatch_table.get('k', 0)",
        "copyreg.dispatch_table.update(k=n)",
    ),
    "builtins": ("getattr(builtins, 'k', 0)", "builtins.k = n"),
    "__builtins__": ("vars(builtins).get('k', 0)", "vars(builtins).update(k=n)"),
    "a library class": ("getattr(collections.Counter, 'k', 0)", "collections.Counter.k = n"),
    "a built-in class": ("gc.get_referents(int.__dict__)[0].get('k', 0)", "gc.get_referents(int.__dict__)[0]['k'] = n"),
    "subclasses": ("sum(c.__name__ == 'Kept' for c in dict.__subclasses__())", "type('Kept', (dict,), {})"),
    "an ABC's registry": ("sum(isinstance(c, collections.abc.Sized) for c in (K(),))", "collections.abc.Sized.register(K)"),
    "a library function's default": ("(heapq.merge.__kwdefaults__ or {}).get('k', 0)", "heapq.merge.__kwdefaults__['k'] = n"),
    "a library function's attribute": ("getattr(copy.deepcopy, 'k', 0)", "copy.deepcopy.k = n"),
    "a library function's code": ("copy.copy.__code__.co_firstlineno >> 20", "copy.copy.__code__ = copy.copy.__code__.replace(co_firstlineno=n << 20)"),
    "a library cache": ("fnmatch._compile_pattern.cache_info().currsize", "fnmatch._compile_pattern(str(n))"),
    "the cache of re": ("sum('k' in map(str, key) for key in map(list, filter(lambda c: isinstance(c, tuple), re._cache)))", "re._cache[('k', n)] = n"),
    "sys.path": ("sys.path.count('k')", "sys.path.append('k')"),
    "sys.argv": ("sys.argv.count('k')", "sys.argv.append('k')"),
    "sys.meta_path": ("sys.meta_path.count(math)", "sys.meta_path.append(math)"),
    "sys.path_hooks": ("sys.path_hooks.count(math)", "sys.path_hooks.append(math)"),
    "path importer cache": ("sys.path_importer_cache.get('k', 0)", "sys.path_importer_cache['k'] = n"),
    "sys.warnoptions": ("sys.warnoptions.count('k')", "sys.warnoptions.append('k')"),
    "os.environ": ("int(os.environ.get('K', 0))", "os.environ['K'] = str(n)"),
    "the C environment": ("int(LIBC.getenv(b'K') or 0)", "LIBC.setenv(b'K', str(n).encode(), 1)"),
    "warnings": ("warnings.filters.count('k')", "warnings.filters.append('k')"),
    "random": ("int(random._inst.gauss_next or 0)", "random._inst.gauss_next = n"),
    "decimal": ("decimal.getcontext().prec - 28", "decimal.getcontext().prec = 28 + n"),
    "decimal's default": ("decimal.DefaultContext.prec - 28", "decimal.DefaultContext.prec = 28 + n"),
    "a thread's object": ("getattr(threading.main_thread(), 'k', 0)", "threading.main_thread().k = n"),
    "thread local": ("getattr(decimal.__dict__.get('k'), 'n', 0)", "decimal.k = threading.local(); decimal.k.n = n"),
    "stack size": ("threading.stack_size() >> 16", "threading.stack_size(n << 16)"),
    "gc thresholds": ("gc.get_threshold()[2] - 10", "gc.set_threshold(700, 10, 10 + n)"),
    "gc callbacks": ("gc.callbacks.count(len)", "gc.callbacks.append(len)"),
    "gc garbage": ("gc.garbage.count('k')", "gc.garbage.append('k')"),
    "switch interval": ("round(sys.getswitchinterval() * 1000) - 5", "sys.setswitchinterval((5 + n) / 1000)"),
    "a hook": ("getattr(sys.excepthook, 'k', 0) if sys.excepthook is not sys.__excepthook__ else 0", "sys.excepthook = lambda *a: 0; sys.excepthook.k = n"),
    "profile hook": ("int(sys.getprofile() is not None)", "sys.setprofile(lambda *a: None)"),
    "dlopen flags": ("sys.getdlopenflags() >> 20", "sys.setdlopenflags(n << 20 | 2)"),
    "signal handler": ("signal.getsignal(10).k if callable(signal.getsignal(10)) and hasattr(signal.getsignal(10), 'k') else 0", "H.k = n; signal.signal(10, H)"),
    "an alarm": ("signal.getitimer(0)[0] > 0", "signal.setitimer(0, 1000)"),
    "codecs": ("getattr(dict(enumerate([codecs.lookup_error('k')])).get(0), 'k', 0) if KNOWN('k') else 0", "H.k = n; codecs.register_error('k', H)"),
    "linecache": ("len(linecache.cache.get('k', ()))", "linecache.cache['k'] = (0,) * n"),
    "logging": ("logging.root.level - 30", "logging.root.setLevel(30 + n)"),
    "socket timeout": ("int(socket.getdefaulttimeout() or 0)", "socket.setdefaulttimeout(n)"),
    "context variable": ("getattr(functools, 'k', V).get(0)", "functools.k = V; V.set(n)"),
    "atexit": ("atexit._ncallbacks() - FIRST", "atexit.register(len, ())"),
    "time zone": ("int(time.tzname[0][1:] or 0) if time.tzname[0][:1] == 'K' and time.tzname[0][1:].isdigit() else 0", "time.tzname = (f'K{n}', '')"),
    "locale": ("int(locale._override_localeconv.get('k', 0))", "locale._override_localeconv['k'] = n"),
    "enum member": ("getattr(signal.SIGINT, 'k', 0)", "signal.SIGINT.k = n"),
    "single dispatch": ("len(pprint.PrettyPrinter._dispatch) - FIRST2", "pprint.PrettyPrinter._dispatch[n] = n"),
    "memory of an object": ("ctypes.c_char.from_address(id(json.__doc__) + 100).value[0] & 3", "ctypes.c_char.from_address(id(json.__doc__) + 100).value = bytes([0x40 + n])"),
    "standard streams": ("getattr(sys.__stderr__, 'k', 0)", "sys.__stderr__.k = n"),
    # the process, as the kernel knows it
    "umask": ("KEEP_UMASK() >> 3", "os.umask(n << 3)"),
    "working directory": ("os.getcwd().count('k_')", "os.mkdir('k_'); os.chdir('k_')"),
    "niceness": ("os.getpriority(0, 0)", "os.nice(1)"),
    "a limit": ("4000 - min(4000, resource.getrlimit(7)[0])", "resource.setrlimit(7, (4000 - n, resource.getrlimit(7)[1]))"),
    "process name": ("int(open('/proc/self/comm').read()[1:] or 0) if open('/proc/self/comm').read()[:1] == '~' else 0", "open('/proc/self/comm', 'w').write(f'~{n}')"),
    "oom score": ("int(open('/proc/self/oom_score_adj').read()) - FIRST3", "open('/proc/self/oom_score_adj', 'w').write(str(FIRST3 + n))"),
    "timer slack": ("LIBC.prctl(30, 0, 0, 0, 0) % 1000 if LIBC.prctl(30, 0, 0, 0, 0) != 50000 else 0", "LIBC.prctl(29, 1000 + n, 0, 0, 0)"),
    "an open file": ("sum(os.path.realpath(f'/proc/self/fd/{f}').endswith('/zero') for f in os.listdir('/proc/self/fd'))", "os.open('/dev/zero', os.O_RDONLY)"),
    "flags of a shared file": ("int(bool(fcntl.fcntl(2, 3) & 0o4000))", "fcntl.fcntl(2, 4, fcntl.fcntl(2, 3) | 0o4000)"),
    "signal of a shared file": ("fcntl.fcntl(2, 11)", "fcntl.fcntl(2, 10, n)"),
    "shared memory": ("mmap_of()[0]", "mmap_of()[0] = n"),
    "a thread that waits": ("threading.active_count() - 1", "threading.Thread(target=time.sleep, args=(0.3,), daemon=True).start()"),
    # what outlives a process
    "a file here": ("SIZE('k')", "open('k', 'a').write('x')"),
    "a file in /tmp": ("SIZE('/tmp/.k')", "open('/tmp/.k', 'a').write('x')"),
    "a file in /dev/shm": ("SIZE('/dev/shm/k')", "open('/dev/shm/k', 'a').write('x')"),
    "a file in /dev": ("SIZE('/dev/k')", "open('/dev/k', 'a').write('x')"),
    "a file in /dev/mqueue": ("int(os.path.exists('/dev/mqueue/k'))", "open('/dev/mqueue/k', 'w').close()"),
    "a deep file": ("SIZE('a/b/k')", "os.makedirs('a/b', exist_ok=True); open('a/b/k', 'a').write('x'); os.chmod('a/b', 0o500)"),
    "a link": ("len(os.readlink('l')) if os.path.islink('l') else 0", "os.path.islink('l') and os.unlink('l'); os.symlink('x' * n, 'l')"),
    "mode of a folder": ("os.stat('.').st_mode & 7", "os.chmod('.', 0o700 | n)"),
    "mode of /tmp": ("7 - (os.stat('/tmp').st_mode & 7)", "os.chmod('/tmp', 0o1777 & ~n)"),
    "times of a folder": ("SECONDS('.')", "os.utime('.', (n, n))"),
    "times of /tmp": ("SECONDS('/tmp')", "os.utime('/tmp', (n, n))"),
    "attributes of a folder": ("len(os.listxattr('.'))", "os.setxattr('.', f'user.k{n}', b'x')"),
    "System V memory": ("SHM() >= 0 and ctypes.c_int.from_address(LIBC.shmat(SHM(), None, 0)).value", "ctypes.c_int.__setattr__(ctypes.c_int.from_address(LIBC.shmat(SHM(), None, 0)), 'value', n)"),
    "a key ring": ("KEY()", "LIBC.syscall(248, b'user', f'k{n}'.encode(), b'x', 1, -4)"),
    "a lingering process": ("int(ALIVE())", "LINGER()"),
    "a used port": ("PORT()", "USE_PORT()"),
}  # fmt: skip
"""Name: how to read the number, and how to write `n` there."""

_HELPERS = {
    "LIBC": "LIBC = ctypes.CDLL(None, use_errno=True)\nLIBC.getenv.restype = ctypes.c_char_p\nLIBC.shmat.restype = ctypes.c_void_p",
    "BOX": "BOX = [collections]",
    "V": "V = contextvars.ContextVar('k')",
    "FIRST": "FIRST = atexit._ncallbacks()",
    "FIRST2": "FIRST2 = len(pprint.PrettyPrinter._dispatch)",
    "FIRST3": "FIRST3 = int(open('/proc/self/oom_score_adj').read())",
    "K": "class K: pass",
    "H": "def H(*_): return ('', 0)",
    "merge": "heapq.merge.__kwdefaults__ = heapq.merge.__kwdefaults__ or {}",
    "KNOWN": "def KNOWN(name):\n    try: codecs.lookup_error(name)\n    except LookupError: return False\n    return True",
    "KEEP_UMASK": "def KEEP_UMASK():\n    old = os.umask(0); os.umask(old)\n    return old if old < 0o22 and old != 0o2 else 0",
    "SIZE": "def SIZE(path):\n    try: return os.path.getsize(path)\n    except OSError: return 0",
    "SECONDS": "def SECONDS(path):\n    found = int(os.stat(path).st_mtime)\n    return found if found < 100 else 0",
    "mmap_of": "MAP = mmap.mmap(-1, 8)\ndef mmap_of(): return MAP",
    "SHM": "def SHM(): return LIBC.shmget(4242, 4096, 0o1666)",
    "KEY": """
def KEY():
    for n in (1, 2): LIBC.syscall(250, 10, -4, b'user', f'k{n}'.encode(), 0)
    return sum(LIBC.syscall(250, 10, -4, b'user', f'k{n}'.encode(), 0) > 0 for n in (1, 2))
""",
    "ALIVE": """
def ALIVE():
    for pid in filter(str.isdigit, os.listdir('/proc')):
        try: found = open(f'/proc/{pid}/comm').read() == 'lingers\\n'
        except OSError: continue
        if found: return True
    return False
""",
    "LINGER": """
def LINGER():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            open('/proc/self/comm', 'w').write('lingers')
            os.closerange(0, 100)
            time.sleep(3)
        os._exit(0)
    os.wait(); time.sleep(0.02)
""",
    "PORT": """
def PORT():
    s = socket.socket()
    try: s.bind(('127.0.0.1', 47474))
    except OSError: return 1
    finally: s.close()
    return 0
""",
    "USE_PORT": """
def USE_PORT():
    a, b = socket.socket(), socket.socket()
    a.bind(('127.0.0.1', 47474)); a.listen(); b.connect(('127.0.0.1', 47474)); c, _ = a.accept()
    a.close(); b.close(); time.sleep(0.01); c.close()
""",
}
"""Names that the code of places uses: what defines them."""
_MODULES = (
    "abc",
    "atexit",
    "builtins",
    "codecs",
    "collections",
    "collections.abc",
    "contextvars",
    "copy",
    "copyreg",
    "ctypes",
    "decimal",
    "fcntl",
    "fnmatch",
    "functools",
    "gc",
    "heapq",
    "json",
    "json.decoder",
    "keyword",
    "linecache",
    "locale",
    "logging",
    "math",
    "mmap",
    "os",
    "pprint",
    "random",
    "re",
    "resource",
    "signal",
    "socket",
    "sys",
    "threading",
    "time",
    "warnings",
)


def _setup(code: str) -> str:
    """Imports and helpers that the code uses."""
    helpers: list[str] = []
    for name, helper in reversed(_HELPERS.items()):
        if re.search(rf"\b{name}\b", "\n".join((code, *helpers))):
            helpers.insert(0, helper)
    whole = "\n".join((*helpers, code))
    modules = [name for name in _MODULES if re.search(rf"\b{name.replace('.', '[.]')}\b", whole)]
    return "\n".join((*(f"import {name}" for name in modules), *helpers))


def code_of(place: str) -> str:
    """Code that defines `count()`: one more than it was at the call before."""
    get, put = _GET_PUT[place]
    return f"{_setup(get + put)}\ndef count():\n    n = int({get}) + 1\n    {put}\n    return n\n"


def keeping(sandbox: Sandbox) -> list[str]:
    """The places that do keep a number there within one process: in a process of its own each counts to 2."""
    cases = {}
    for place in _GET_PUT:
        again = "" if place in _MADE else _setup("".join(_GET_PUT[place]))
        cases[place] = f"{code_of(place)}\na = count()\n{again}\nprint(a, count(), flush=True)"
    code = f"""
import os, sys, tempfile
for place, code in {cases!r}.items():
    print(place, end=': ', flush=True)
    if os.fork() == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        os.chdir(tempfile.mkdtemp())
        try: exec(code, {{'__name__': 'solution'}})
        finally: print(flush=True); os._exit(0)
    os.wait()
"""
    found = sandbox.exec([sys._base_executable, "-I", "-c", code]).stdout.decode()
    rows = (line.partition(": ") for line in found.splitlines())
    return [place for place, _, counted in rows if counted.split() == ["1", "2"]]


_MADE = (
    "shared memory",
    "a module under another name",
    "context variable",
    "an ABC's registry",
    "atexit",
    "single dispatch",
    "oom score",
)
"""Places that begin anew when the program is loaded again, so that only its calls can use them."""


def places() -> list[str]:
    return list(_GET_PUT)


def script(place: str) -> str:
    return f"{code_of(place)}\ninput()\nprint(count())\n"


def at_call(place: str) -> str:
    return f"{code_of(place)}\ndef f(_):\n    return count()\n"


def at_load(place: str) -> str:
    return f"{code_of(place)}\nN = count()\ndef f(_):\n    return N\n"
