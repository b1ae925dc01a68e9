"""A cell of a notebook runs elsewhere from its text, the context and the variables alone."""

# ruff: noqa: E501 - a cell on one line is read more easily than one in pieces
from __future__ import annotations

import ast
import asyncio
import io
import os
import queue
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FunctionType, ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_aiinfra.capture import Capture
from jupyter_aiinfra.errors import CaptureError, UsageError
from jupyter_aiinfra.model import CaptureKind, ManifestItem
from tests.support.notebook import Notebook, run_on_rank


@pytest.fixture
def notebook(tmp_path: Path) -> Notebook:
    return Notebook(tmp_path)


def items(capture: Capture) -> dict[str, ManifestItem]:
    return {item.name: item for item in capture.manifest.items}


def result(notebook: Notebook, cell: str, **options: Any) -> Any:
    """Run a cell that binds ``out``, on a rank, and return that."""
    return run_on_rank(notebook.capture(cell, **options))["out"]


def refused(notebook: Notebook, cell: str, **options: Any) -> dict[str, ManifestItem]:
    with pytest.raises(CaptureError) as caught:
        notebook.capture(cell, **options)
    assert all(item.reason in caught.value.message for item in caught.value.items)
    return {item.name: item for item in caught.value.items}


# --- code that travels as source ----------------------------------------------------------------

TRICKY = {
    "function": ("def f(x): return x + 1", "out = f(1)", 2),
    "function of functions": (
        "def g(x): return h(x) * 2\ndef h(x): return x + 1\ndef f(x): return g(x)",
        "out = f(1)",
        4,
    ),
    "recursion": ("def f(n): return 1 if n < 2 else n * f(n - 1)", "out = f(5)", 120),
    "mutual recursion": (
        "def even(n): return n == 0 or odd(n - 1)\ndef odd(n): return n != 0 and even(n - 1)",
        "out = even(10), odd(7)",
        (True, True),
    ),
    "a function that reads data": ("K = [1, 2]\ndef f(): return sum(K)", "out = f()", 3),
    "a function that writes a global": (
        "count = 5\ndef f():\n    global count\n    count += 1\n    return count",
        "f(); out = f()",
        7,
    ),
    "a function that makes a global": (
        "def f():\n    global made\n    made = 9",
        "f(); out = made",
        9,
    ),
    "a default from data": ("N = 4\ndef f(n=N): return n", "out = f()", 4),
    "a default changed since": ("N = 4\ndef f(n=N): return n\nN = 5", "out = f(), N", (4, 5)),
    "a default deleted since": (
        "N = 4\ndef f(n=N, *, m=[N]): return n, m\ndel N",
        "out = f()",
        (4, [4]),
    ),
    "a default made by a call": ("def one(): return 1\ndef f(n=one()): return n", "out = f()", 1),
    "a decorator that reads another name of a function whose body is read later": (
        """
def a(): return c
def deco_c(f):
    str(a)
    return f
@deco_c
def c(): return e
d = c
def deco_e(f):
    str(d)
    return f
@deco_e
def e(): return 5
""",
        "out = a()()()",
        5,
    ),
    "a keyword default": ("N = 4\ndef f(*, n=N, m=2): return n + m", "out = f()", 6),
    "a decorator": (
        (
            "def twice(f):\n    def inner(*a): return 2 * f(*a)\n    return inner\n"
            "@twice\ndef f(x): return x"
        ),
        "out = f(4)",
        8,
    ),
    "a decorator with wraps": (
        (
            "import functools\ndef twice(f):\n    @functools.wraps(f)\n"
            "    def inner(*a): return 2 * f(*a)\n    return inner\n"
            "@twice\ndef f(x): 'doc'; return x"
        ),
        "out = f(4), f.__name__",
        (8, "f"),
    ),
    "a decorator that reads data": (
        "names = []\ndef register(f): names.append(f.__name__); return f\n@register\ndef f(): pass",
        "out = names, f()",
        (["f", "f"], None),
    ),
    "a decorator with an argument": (
        (
            "N = 3\ndef times(n):\n    def wrap(f): return lambda: n * f()\n    return wrap\n"
            "@times(N)\ndef f(): return 2"
        ),
        "out = f()",
        6,
    ),
    "a cached function": (
        "import functools\n@functools.lru_cache(maxsize=None)\ndef fib(n): return n if n < 2 else fib(n-1) + fib(n-2)",
        "out = fib(30)",
        832040,
    ),
    "a contextmanager": (
        "from contextlib import contextmanager\n@contextmanager\ndef f(): yield 3",
        "with f() as out: pass",
        3,
    ),
    "a generator function": ("def f(n):\n    yield from range(n)", "out = list(f(3))", [0, 1, 2]),
    "a coroutine function": (
        "import asyncio\nasync def f(): return 3",
        "import asyncio\nout = asyncio.run(f())",
        3,
    ),
    "a nested helper": (
        "def f(x):\n    def g(y):\n        return x + y + K\n    return g(1)\nK = 10",
        "out = f(2)",
        13,
    ),
    "redefinition": ("def f(): return 'old'\ndef f(): return 'new'", "out = f()", "new"),
    "an alias": ("def f(x): return x\nh = f", "out = h(3)", 3),
    "an alias of what was redefined": (
        "def f(): return 'old'\nh = f\ndef f(): return 'new'",
        "out = h(), f()",
        ("old", "new"),
    ),
    "a lambda": ("K = 2\nf = lambda x: x * K", "out = f(3)", 6),
    "a lambda with a default": ("K = 2\nf = lambda x, k=K: x * k\nK = 5", "out = f(3)", 6),
    "a lambda that calls itself": ("f = lambda n: 1 if n < 2 else n * f(n - 1)", "out = f(4)", 24),
    "a lambda in the default of a lambda": (
        "def make(k):\n    return lambda x=lambda: 1: (x(), k, (lambda: 2)())\nf = make(3)",
        "out = f(lambda: 0)",
        (0, 3, 2),
    ),
    "two lambdas on a line": (
        "f, g = (lambda x: x + 1), (lambda x: x + 2)",
        "out = f(0), g(0)",
        (1, 2),
    ),
    "lambdas in a dict": (
        "d = {'a': lambda x: x, 'b': abs}",
        "out = d['a'](1), d['b'](-2)",
        (1, 2),
    ),
    "functions in a list": ("def f(): return 1\nfs = [f, f]", "out = [g() for g in fs]", [1, 1]),
    "a partial": (
        "import functools\ndef f(a, b): return a - b\np = functools.partial(f, 10)",
        "out = p(3)",
        7,
    ),
    "a partial of a builtin": (
        "from functools import partial\np = partial(int, base=2)",
        "out = p('11')",
        3,
    ),
    "a bound method": (
        (
            "class A:\n    def __init__(self, k): self.k = k\n    def m(self, x): return x * self.k\n"
            "m = A(3).m"
        ),
        "out = m(2)",
        6,
    ),
    "a method taken from its class": (
        "class A:\n    def m(self): return 3\nm = A.m",
        "out = m(None)",
        3,
    ),
    "a closure": (
        "def make(k):\n    def f(x): return x * k\n    return f\nf = make(3)",
        "out = f(2)",
        6,
    ),
    "a closure over data and a function": (
        (
            "def g(x): return x + 1\ndef make(k, h):\n    def f(x, y=k): return h(x) * y\n    return f\n"
            "f = make([2], g)"
        ),
        "out = f(1)",
        [2, 2],
    ),
    "a closure over a closure": (
        (
            "def make(k):\n    def f(x): return x * k\n    return f\n"
            "def chain(a, b):\n    def f(x): return a(b(x))\n    return f\n"
            "f = chain(make(2), make(5))"
        ),
        "out = f(1)",
        10,
    ),
    "a closure over a module and a class": (
        "import math\nclass A: z = 4\ndef make(m, c):\n    return lambda: m.sqrt(c.z)\nf = make(math, A)",
        "out = f()",
        2.0,
    ),
    "a closure that calls itself": (
        (
            "def make(k):\n    def fact(n): return k if n < 2 else n * fact(n - 1)\n    return fact\n"
            "f = make(1)"
        ),
        "out = f(5)",
        120,
    ),
    "a lambda that calls itself by a local name": (
        "def make():\n    g = lambda n: 0 if n == 0 else 1 + g(n - 1)\n    return g\nf = make()",
        "out = f(5)",
        5,
    ),
    "a closure with state": (
        (
            "def make():\n    n = 0\n    def f():\n        nonlocal n\n        n += 1\n        return n\n    return f\n"
            "f = make()\nf()"
        ),
        "out = f(), f()",
        (2, 3),
    ),
    "a closure that sees another thing by its own name": (
        "def make():\n    def f(): return f\n    g = f\n    f = 3\n    return g\ng = make()",
        "out = g()",
        3,
    ),
    "a decorated closure": (
        (
            "def deco(f): return lambda n: ('deco', f(n))\n"
            "def make(k):\n    @deco\n    def f(n): return n + k\n    return f\n"
            "f = make(2)"
        ),
        "out = f(1)",
        ("deco", 3),
    ),
    "what a decorator was called on by hand": (
        (
            "def twice(f):\n    def inner(*a): return 2 * f(*a)\n    return inner\n"
            "def f(x): return x\ng = twice(f)"
        ),
        "out = g(4)",
        8,
    ),
    "a class": (
        "class A:\n    x = 1\n    def m(self): return self.x + K\nK = 2",
        "out = A().m()",
        3,
    ),
    "a class without methods": ("class A:\n    x = 1", "out = A.x", 1),
    "a class attribute from data": (
        "N = 3\nclass A:\n    x = N\n    def m(self, k=N): return k",
        "out = A.x, A().m()",
        (3, 3),
    ),
    "inheritance": (
        "class A:\n    def m(self): return 'A'\nclass B(A):\n    def m(self): return super().m() + 'B'",
        "out = B().m()",
        "AB",
    ),
    "a base defined again later": (
        "class A: v = 1\nclass B(A): pass\nK = 0\ndef f(): return B.v\n",
        "out = f()",
        1,
    ),
    "classes that name each other": (
        "class A:\n    def other(self): return B()\nclass B(A):\n    def other(self): return A()",
        "out = type(A().other()).__name__, type(B().other()).__name__",
        ("B", "A"),
    ),
    "a metaclass": (
        "class M(type):\n    tag = 'm'\nclass A(metaclass=M): pass",
        "out = A.tag",
        "m",
    ),
    "a nested class": ("class A:\n    class B: x = 5\nb = A.B", "out = b.x", 5),
    "a generic function": (
        (
            "from functools import singledispatch\n@singledispatch\ndef f(x): return 'any'\n"
            "K = 'k'\n@f.register\ndef _(x: int): return 'int'\n@f.register(str)\n"
            "def of_text(x): return K\n@f.register\ndef _(x: list): return 'old'\n"
            "@f.register\ndef _(x: list): return 'new'\nf.register(set, lambda x: 'set')"
        ),
        "out = f(1), f('a'), f([]), f({1}), f(2.0)",
        ("int", "k", "new", "set", "any"),
    ),
    "a registry of functions and classes": (
        (
            "reg = {}\nmade = []\ndef register(name):\n    def put(f):\n        reg[name] = f\n"
            "        made.append(f)\n        return f\n    return put\n"
            "@register('a')\ndef one(): return 1\n@register('b')\nclass Two:\n    def v(self): return 2\n"
            "def build(name): return reg[name]"
        ),
        "out = build('a')(), build('b')().v(), sorted(reg), len(made), made[0] is one",
        (1, 2, ["a", "b"], 2, True),
    ),
    "a base class with a virtual subclass": (
        (
            "import abc\nclass A(abc.ABC):\n    def go(self): pass\n"
            "@A.register\nclass B:\n    def go(self): pass\nb = B()"
        ),
        "out = type(b) is B, isinstance(b, A)",
        (True, True),
    ),
    "a patched class": (
        "class A: pass\ndef hello(self): return 'hi'\nA.hello = hello\nA.n = 2",
        "out = A().hello(), A.n",
        ("hi", 2),
    ),
    "a dataclass": (
        (
            "from dataclasses import dataclass, field\nN = 2\n@dataclass\nclass C:\n    a: int = N\n"
            "    b: list = field(default_factory=lambda: [N])\nc = C(a=7)"
        ),
        "out = c.a, c.b, C().a, c == C(7)",
        (7, [2], 2, True),
    ),
    "an enum": (
        "from enum import Enum\nclass Color(Enum):\n    RED = 1\n    BLUE = 2\nc = Color.BLUE",
        "out = c is Color.BLUE",
        True,
    ),
    "a functional enum": (
        "import enum\nE = enum.Enum('E', 'A B')\ne = E.B",
        "out = e is E.B",
        True,
    ),
    "a NamedTuple": (
        "from typing import NamedTuple\nclass P(NamedTuple):\n    x: int\n    y: int = 3\np = P(1)",
        "out = p.y, isinstance(p, P)",
        (3, True),
    ),
    "a namedtuple": (
        "import collections\nP = collections.namedtuple('P', 'x y')\np = P(1, 2)",
        "out = p.x, isinstance(p, P)",
        (1, True),
    ),
    "a TypedDict and a TypeVar": (
        (
            "from typing import TypedDict, TypeVar\nT = TypeVar('T')\nclass D(TypedDict):\n    a: int\n"
            "def f(d: D, t: T) -> T: return t"
        ),
        "out = f(D(a=1), 2), T.__name__",
        (2, "T"),
    ),
    "an abstract class": (
        (
            "import abc\nclass A(abc.ABC):\n    @abc.abstractmethod\n    def m(self): ...\n"
            "class B(A):\n    def m(self): return 1"
        ),
        "out = B().m()",
        1,
    ),
    "an exception": (
        "class Bad(Exception): pass",
        "try:\n    raise Bad('x')\nexcept Bad as e:\n    out = str(e)",
        "x",
    ),
    "properties and slots": (
        (
            "class A:\n    __slots__ = ('x',)\n    def __init__(self): self.__y()\n"
            "    def __y(self): self.x = 1\n    @property\n    def z(self): return self.x\na = A()"
        ),
        "out = a.z",
        1,
    ),
    "an instance": (
        "class A:\n    def __init__(self, x): self.x = x\n    def m(self): return self.x * K\nK = 2\na = A(4)",
        "out = a.m()",
        8,
    ),
    "instances in a list, of classes nowhere else named": (
        "class A:\n    def __init__(self, x): self.x = x\nlist_ = [A(1), A(2)]",
        "out = [a.x for a in list_]",
        [1, 2],
    ),
    "data a definition needs, of a class": (
        "class Conf:\n    def __init__(self): self.n = 2\nCONF = Conf()\ndef f(n=CONF.n): return n",
        "out = f()",
        2,
    ),
    "postponed annotations": (
        (
            "from __future__ import annotations\nclass A:\n    def m(self, other: Later) -> A: return 1\n"
            "class Later: pass"
        ),
        "out = A().m(None)",
        1,
    ),
    "text annotations": ("def f(x: 'np.ndarray | Nowhere') -> 'A': return 1", "out = f(0)", 1),
    "a function in a branch": (
        "if True:\n    def f():\n        return '''a\n  b'''\nelse:\n    def f(): return 2",
        "out = f()",
        "a\n  b",
    ),
    "statements on one line": ("a = 1; f = lambda: a; b = 2", "out = f()", 1),
    "a docstring of several lines": (
        "def make():\n    def f():\n        '''One.\n\n        Two.\n        '''\n        return f.__doc__\n    return f\nf = make()",
        "import inspect\nout = inspect.cleandoc(f())",
        "One.\n\nTwo.",
    ),
    "a function with a constant default in a closure": (
        "def make(k):\n    def f(x, y=2, *, z=None): return x + y + k, z\n    return f\nf = make(1)",
        "out = f(1)",
        (4, None),
    ),
    "a function with a set in it": (
        "def f(x): return x in {1, 2, 'a'}",
        "out = f(1), f(3)",
        (True, False),
    ),
    "a closure over the same closure twice": (
        (
            "def make(k):\n    return lambda x: x * k\ndef chain(a, b):\n    return lambda x: a(b(x))\n"
            "one = make(3)\nf = chain(one, one)\ndel one"
        ),
        "out = f(1)",
        9,
    ),
    "a function bound anew to what wraps it": (
        "def twice(g):\n    return lambda x: 2 * g(x)\ndef f(x): return x + 1\nf = twice(f)",
        "out = f(1)",
        4,
    ),
    "a function decorated into an object": (
        (
            "class Wrap:\n    def __init__(self, f): self.f = f\n    def __call__(self): return ('w', self.f())\n"
            "@Wrap\ndef f(): return 1"
        ),
        "out = f()",
        ("w", 1),
    ),
    "a class decorated into an object": (
        (
            "class Wrap:\n    def __init__(self, f): self.f = f\n    def __call__(self): return self.f.x\n"
            "@Wrap\nclass A: x = 4"
        ),
        "out = A()",
        4,
    ),
    "a lambda that was annotated": ("f: object = lambda: 1", "out = f()", 1),
    "a lambda held by an object": (
        "import types\na = types.SimpleNamespace()\na.f = lambda: 1\ng = a.f",
        "out = g()",
        1,
    ),
    "a function of a class of a module": (
        "from json import JSONDecoder\ndecode = JSONDecoder.decode",
        "out = decode.__qualname__",
        "JSONDecoder.decode",
    ),
    "a list with a lambda": ("fs = [lambda: 1, abs]", "out = fs[0](), fs[1](-2)", (1, 2)),
    "a registry of subclasses": (
        (
            "ALL = []\nclass A:\n    def __init_subclass__(cls): ALL.append(cls.__name__)\n"
            "class B(A): pass\nALL.clear()"
        ),
        "out = B and ALL",
        ["B"],
    ),
    "a helper that a default calls, defined again since": (
        "def g(): return 1\ndef make(): return g()\ndef f(n=make()): return n\ndef g(): return 2",
        "out = f()",
        2,
    ),
    "a builtin bound anew": ("def sum(x): return 'mine'", "out = sum([1])", "mine"),
    "a builtin under another name": ("show = sorted", "out = show([2, 1])", [1, 2]),
}


@pytest.mark.parametrize("case", TRICKY.values(), ids=TRICKY)
def test_code_runs_elsewhere_as_it_did_here(notebook: Notebook, case: tuple[str, str, Any]) -> None:
    cells, cell, expected = case
    notebook.run(cells)
    assert result(notebook, cell) == expected


# Without a recorded cell only a function's code tells where its text is.
UNHEARD = {
    "lambdas in a dict": "d",
    "a closure over a module and a class": "A",
    "a class without methods": "A",
    "a base defined again later": "B",
    "a metaclass": "A",
    "a nested class": "A",
    "a dataclass": "C",
    "an enum": "Color",
    "a functional enum": "E",
    "a NamedTuple": "P",
    "a namedtuple": "P",
    "a TypedDict and a TypeVar": "D",
    "an exception": "Bad",
    "a list with a lambda": "fs",
    "a class decorated into an object": "A",
    "a function decorated into an object": "f",
    "a registry of subclasses": "B",
}


@pytest.mark.parametrize("title", [title for title in TRICKY if title not in UNHEARD])
def test_code_of_cells_that_ran_before_anybody_listened(notebook: Notebook, title: str) -> None:
    cells, cell, expected = TRICKY[title]
    notebook.run(cells, recorded=False)
    assert result(notebook, cell) == expected


@pytest.mark.parametrize("title", UNHEARD)
def test_code_that_only_its_cell_tells_is_refused_without_it(
    notebook: Notebook, title: str
) -> None:
    cells, cell, _ = TRICKY[title]
    notebook.run(cells, recorded=False)
    assert set(refused(notebook, cell)) == {UNHEARD[title]}


def test_networks_and_their_weights_travel(notebook: Notebook) -> None:
    notebook.run(
        """
        import torch
        from torch import nn
        import torch.nn.functional as F

        WIDTH = 8

        class Block(nn.Module):
            def __init__(self, width=WIDTH):
                super().__init__()
                self.linear = nn.Linear(width, width)

            def forward(self, x):
                return F.relu(self.linear(x))

        class Net(nn.Module):
            def __init__(self):
                super().__init__()
                self.blocks = nn.Sequential(Block(), Block())

            def forward(self, x):
                return self.blocks(x).sum()

        torch.manual_seed(0)
        model = Net()
        x = torch.ones(2, WIDTH)
        expected = model(x).item()
        """
    )
    capture = notebook.capture(
        "out = model(x).item(), expected; optimizer = torch.optim.SGD(model.parameters())"
    )
    here, there = run_on_rank(capture)["out"]
    assert here == pytest.approx(there)
    found = items(capture)
    assert found["model"].kind is CaptureKind.TENSOR
    assert found["Net"].how == "source, 7 lines"
    assert found["x"].type == "Tensor float32 [2, 8]"
    assert found["x"].how == "safetensors"
    assert found["F"].how == "import torch.nn.functional as F"
    assert "Block" in found  # named by the pickle of the model, and by Net


# --- the context as text ---------------------------------------------------------------------------


def test_the_context_reads_like_a_person_wrote_it(notebook: Notebook) -> None:
    notebook.run("import numpy as np\nfrom math import sqrt as root\nSCALE = 3")
    notebook.run(
        '''
        def helper(x):
            # said once
            return np.sum(x) * SCALE


        @staticmethod
        def unused(): ...


        def entry(x, *, scale=SCALE):
            """Say what it does."""
            return root(helper(x)) * scale
        '''
    )
    capture = notebook.capture("out = entry([1, 2])")
    assert capture.context == (
        "# What the cell uses of the notebook. Its variables are loaded after this file has run.\n"
        "\n"
        "import numpy as np\n"
        "from math import sqrt as root\n"
        "\n"
        "# In [2], line 2\n"
        "def helper(x):\n"
        "    # said once\n"
        "    return np.sum(x) * SCALE\n"
        "\n"
        "# In [2], line 11\n"
        "__aiinfra_load__('SCALE')\n"
        "def entry(x, *, scale=SCALE):\n"
        '    """Say what it does."""\n'
        "    return root(helper(x)) * scale\n"
    )
    assert capture.cell == "out = entry([1, 2])"


def test_the_same_notebook_gives_the_same_text(notebook: Notebook) -> None:
    notebook.run(
        "import os, sys\na = 1\ndef f(): return g(), a\ndef g(): return os, sys, h\nh = {1}"
    )
    first, second = notebook.capture("f()"), notebook.capture("f()")
    assert first.context == second.context
    assert first.variables == second.variables
    assert first.manifest == second.manifest


def test_a_cell_that_needs_nothing_takes_nothing(notebook: Notebook) -> None:
    notebook.run("big = list(range(1000))")
    capture = notebook.capture("print(sum(range(3)))")
    assert capture.context == ""
    assert capture.manifest.items == ()
    assert capture.variables["variables"] == []
    assert capture.blobs == {}
    assert capture.sources == {}


def test_future_imports_of_the_notebook_come_first(notebook: Notebook) -> None:
    notebook.run("from __future__ import annotations")
    notebook.run("import math\ndef f(x: Nowhere) -> Nothing: return math.pi")
    capture = notebook.capture("out = f(1)")
    lines = [line for line in capture.context.splitlines() if line and not line.startswith("#")]
    assert lines[0] == "from __future__ import annotations"
    assert run_on_rank(capture)["out"] == pytest.approx(3.14, abs=0.01)


def test_no_name_of_ours_is_left_over(notebook: Notebook) -> None:
    notebook.run("def make(k):\n    return lambda x: x * k\nf = make(3)")
    names = run_on_rank(notebook.capture("out = f(1)"))
    assert not [name for name in names if "make" in name and name.startswith("__aiinfra")]


# --- data -------------------------------------------------------------------------------------------


def test_data_arrives_as_it_was(notebook: Notebook) -> None:
    notebook.names.update(
        number=3,
        text="grün",
        table=pd.DataFrame({"a": [1, 2]}),
        array=np.arange(6.0).reshape(2, 3),
        tensor=torch.arange(4),
        nested={"a": [np.ones(2), {"b": (1, None)}]},
    )
    names = run_on_rank(notebook.capture("out = number, text, table, array, tensor, nested"))
    number, text, table, array, tensor, nested = names["out"]
    assert (number, text, nested["a"][1]) == (3, "grün", {"b": (1, None)})
    assert table["a"].tolist() == [1, 2]
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert tensor.tolist() == [0, 1, 2, 3]


def test_what_shares_objects_still_does_on_the_rank(notebook: Notebook) -> None:
    notebook.run(
        """
        import torch
        class Net(torch.nn.Linear): pass
        model = Net(2, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
        history = [1]
        config = {"history": history}
        apart = [1]
        def make(net): return lambda x: net(x)
        predict = make(model)
        def first(net=model): return net
        """
    )
    names = run_on_rank(
        notebook.capture(
            """
            predict(torch.ones(1, 2)).sum().backward()
            before = model.weight.clone()
            optimizer.step()
            moved = not torch.equal(before, model.weight)
            history.append(2)
            apart.append(3)
            same = first() is model
            config
            """
        )
    )
    assert names["moved"]
    assert names["same"]
    assert names["config"]["history"] == [1, 2]
    assert names["history"] is names["config"]["history"]
    assert names["apart"] == [1, 3]


def test_the_manifest_says_what_leaves_and_how(notebook: Notebook) -> None:
    notebook.run("import json as j\nfrom os import path\ndef f():\n    return 1")
    notebook.names.update(
        array=np.zeros((10, 4)), tensor=torch.zeros(5), cfg={"a": 1, "b": 2, "c": 3}, n=1
    )
    capture = notebook.capture("array, tensor, cfg, n, f(), j, path")
    rows = [(item.name, item.kind.value, item.type, item.how) for item in capture.manifest.items]
    assert rows == [
        ("tensor", "tensor", "Tensor float32 [5]", "safetensors"),
        ("array", "array", "ndarray float64 [10, 4]", "buffer"),
        ("cfg", "data", "dict of 3", "pickle"),
        ("n", "data", "int", "pickle"),
        ("f", "source", "function", "source, 2 lines"),
        ("j", "import", "module json 2.0", "import json as j"),
        ("path", "import", "module posixpath", "from os import path"),
    ]
    sizes = {name: item.size_bytes for name, item in items(capture).items()}
    assert sizes["f"] == len("def f():\n    return 1")
    assert (sizes["array"] or 0) >= 320
    assert sizes["j"] is None
    assert capture.manifest.size_bytes == sum(size or 0 for size in sizes.values())


def test_versions_travel_with_the_variables(notebook: Notebook) -> None:
    notebook.names.update(array=np.zeros(3, dtype="O"))
    variables = notebook.capture("array").variables
    assert variables["format"] == 1
    assert variables["versions"]["packages"]["numpy"] == np.__version__
    assert [entry["name"] for entry in variables["variables"]] == ["array"]


def test_only_what_is_needed_is_looked_at(notebook: Notebook) -> None:
    class Trap:
        def __getattribute__(self, name: str) -> Any:
            raise AssertionError(f"somebody asked for {name}")

    notebook.names.update({f"name{number}": Trap() for number in range(5000)})
    notebook.names["n"] = 1
    assert result(notebook, "out = n + 1") == 2


def test_a_usual_cell_is_captured_with_little_work(notebook: Notebook) -> None:
    notebook.names.update({f"name{number}": number for number in range(5000)})
    notebook.run(
        "import numpy as np, torch\nfrom torch import nn\n"
        + "\n".join(f"def f{n}(x): return f{n + 1}(x) + np.sum(x)" for n in range(30))
        + "\ndef f30(x): return x\nclass Net(nn.Module):\n    def forward(self, x): return f0(x)\nnet = Net()"
    )
    cell = "total = 0\nfor i in range(3):\n    total += net(i)\n" * 5
    notebook.capture(cell)
    calls = Counter[str]()
    sys.setprofile(lambda frame, event, argument: calls.update([event]))
    try:
        notebook.capture(cell)
    finally:
        sys.setprofile(None)
    # The notebook's 5000 names are not gone through once a function, which would be 150,000.
    assert calls["call"] < 80_000


# --- imports ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("imports", "use", "line"),
    [
        ("import json", "json", "import json"),
        ("import json as j", "j", "import json as j"),
        ("import os.path", "os", "import os.path"),
        ("import os.path as p", "p", "import os.path as p"),
        ("from os import path", "path", "from os import path"),
        ("from os.path import join as glue", "glue", "from os.path import join as glue"),
        ("from math import pi", "pi", "from math import pi"),
        ("from torch import float32", "float32", None),
        ("import numpy as np\nsin = np.sin", "sin", "from numpy import sin"),
        ("import json\nload = json.load", "load", "from json import load"),
        (
            "import collections\nC = collections.Counter",
            "C",
            "from collections import Counter as C",
        ),
        ("import torch\nF = torch.nn.functional", "F", "import torch.nn.functional as F"),
        ("from math import *", "sqrt", "from math import sqrt"),
        ("import torch\nrelu = torch.relu", "relu", None),
        ("import json as j, math as m", "m", "import math as m"),
        ("from os import sep, path", "path", "from os import path"),
        ("import os.path\npath = os.path", "path", "import posixpath as path"),
        (
            "try:\n    import nowhere_at_all as m\nexcept ImportError:\n    import json as m",
            "m",
            "import json as m",
        ),
    ],
)
def test_what_modules_define_is_imported(
    notebook: Notebook, imports: str, use: str, line: str | None
) -> None:
    notebook.run(imports)
    capture = notebook.capture(f"out = {use}")
    assert run_on_rank(capture)["out"] is notebook.names[use]
    if line is not None:
        assert capture.context.splitlines()[2:] == [line]
        assert items(capture)[use].how == line
        assert capture.variables["variables"] == []


def test_imports_are_found_though_no_cell_was_recorded(notebook: Notebook) -> None:
    notebook.run(
        "import numpy as np\nfrom json import dumps as d\nimport os.path as p", recorded=False
    )
    context = notebook.capture("np, d, p").context
    assert context.splitlines()[2:] == [
        "import numpy as np",
        "import posixpath as p",
        "from json import dumps as d",
    ]


def test_submodules_that_only_another_cell_imported_are_imported(notebook: Notebook) -> None:
    notebook.run("import xml\nimport xml.dom.minidom as unused\nimport numpy as np")
    notebook.names["etree_was_imported"] = __import__("xml.etree.ElementTree")
    capture = notebook.capture("out = xml.etree.ElementTree.fromstring('<a/>').tag, np.random")
    lines = capture.context.splitlines()[2:]
    assert lines == ["import numpy as np", "import xml", "import xml.etree.ElementTree"]


def test_a_module_made_by_hand_is_refused(notebook: Notebook) -> None:
    notebook.names["mod"] = ModuleType("mod")
    assert "made in this process" in refused(notebook, "mod.x")["mod"].reason


# --- what is needed, and what is not ----------------------------------------------------------------


def test_what_the_cell_binds_first_stays_here(notebook: Notebook) -> None:
    notebook.run("def f(): return x\nx = [0] * 1000\ny = open('/dev/null')\ny.close()")
    capture = notebook.capture("x = 1\ny = 2\nout = f() + y")
    assert set(items(capture)) == {"f"}
    assert run_on_rank(capture)["out"] == 3


def test_what_a_function_reads_before_the_cell_binds_it_goes_along(notebook: Notebook) -> None:
    notebook.run("def f(): return x\nx = 5")
    assert result(notebook, "out = [f()]\nx = 1\nout.append(f())") == [5, 1]


def test_a_function_called_by_two_ways_is_judged_by_the_earlier(notebook: Notebook) -> None:
    notebook.run("x = 5\ndef f(): return x\ndef h(): return f()\nc = False")
    cell = "if c:\n    x = 1\n    out = f()\nelse:\n    out = h()"
    assert result(notebook, cell) == 5


def test_an_annotation_changes_nothing_for_other_uses(notebook: Notebook) -> None:
    notebook.run("def f(): return x\nclass A:\n    def m(self): return x\nx = [0]")
    capture = notebook.capture("def g(a: 'A'): pass\nx = 1\nA().m()")
    assert set(items(capture)) == {"A"}


def test_data_that_is_only_perhaps_needed_and_cannot_travel_is_kept_back(
    notebook: Notebook,
) -> None:
    notebook.names.update(log=io.StringIO(), lock=threading.Lock(), flag=True)
    capture = notebook.capture("if flag:\n    lock = 1\nout = lock")
    assert run_on_rank(capture)["out"] == 1
    item = items(capture)["lock"]
    assert (item.kind, item.how) == (CaptureKind.MISSING, "kept back")
    assert "lock" in item.reason


def test_a_function_that_is_perhaps_needed_is_kept_back_with_its_default(
    notebook: Notebook,
) -> None:
    notebook.run("import threading\nlock = threading.Lock()\ndef f(l=lock): return 1")
    capture = notebook.capture("import os\nif os.sep:\n    def f(): return 2\nout = f()")
    assert run_on_rank(capture)["out"] == 2
    assert items(capture)["f"].reason == "needs `lock`, which stays here"
    assert items(capture)["lock"].how == "kept back"


def test_names_in_annotations_bring_classes_and_no_data(notebook: Notebook) -> None:
    notebook.run("import numpy as np\nclass A: pass\nbig = [1]\nlock = object()")
    notebook.names["lock"] = threading.Lock()
    notebook.run("def f(x: 'np.ndarray', y: 'A', z: 'big', w: 'lock', v: 'Nowhere'): return 1")
    capture = notebook.capture("out = f(1, 2, 3, 4, 5)")
    assert set(items(capture)) == {"f", "np", "A"}


def test_names_can_be_sent_that_nothing_shows(notebook: Notebook) -> None:
    notebook.run("weights = [1, 2]\ndef helper(): return weights")
    cell = "out = eval('helper()')"
    assert items(notebook.capture(cell)) == {}
    assert result(notebook, cell, send=["helper"]) == [1, 2]


def test_names_can_be_kept(notebook: Notebook) -> None:
    notebook.names.update(lock=threading.Lock())
    notebook.run("def f(): return lock")
    capture = notebook.capture(
        "try:\n    f()\nexcept NameError as e:\n    out = e.name", keep=["lock"]
    )
    assert run_on_rank(capture)["out"] == "lock"
    assert items(capture)["lock"].reason == "kept here by --keep"


def test_what_cannot_be_defined_without_a_kept_name_is_told(notebook: Notebook) -> None:
    notebook.run("N = 1\ndef f(n=N): return n\nclass A: pass\na = A()")
    found = refused(notebook, "f()", keep=["N"])
    assert "without `N`" in found["f"].reason
    assert "--keep" in found["f"].hint
    assert "without `A`" in refused(notebook, "a", keep=["A"])["a"].reason


def test_display_and_pythons_own_names_are_there(notebook: Notebook) -> None:
    capture = notebook.capture("if False: display(1)\nout = __name__, print, __file__ if 0 else ''")
    assert capture.manifest.items == ()
    assert run_on_rank(capture)["out"] == ("__main__", print, "")


def test_a_display_of_the_users_own_travels(notebook: Notebook) -> None:
    notebook.run("def display(x): return ('mine', x)")
    assert result(notebook, "out = display(1)") == ("mine", 1)


def test_ipythons_versions_of_builtins_are_left_here(notebook: Notebook) -> None:
    pytest.importorskip("IPython")
    from IPython.core.autocall import ExitAutocall
    from IPython.core.interactiveshell import _modified_open
    from IPython.display import display

    notebook.names.update(
        exit=ExitAutocall.__new__(ExitAutocall), open=_modified_open, display=display
    )
    capture = notebook.capture("if 0: exit(), open('x'), display(1)")
    assert capture.manifest.items == ()


# --- what cannot travel -----------------------------------------------------------------------------


def _open_file(folder: Path) -> Any:
    return (folder / "log.txt").open("w")


LIVE: dict[str, tuple[Any, str]] = {
    "open file": (_open_file, "an open file"),
    "lock": (lambda _: threading.Lock(), "a thread lock"),
    "queue": (lambda _: queue.Queue(), "a thread lock"),
    "thread": (lambda _: threading.Thread(target=print), "a thread"),
    "generator": (lambda _: (n for n in [1]), "a generator"),
    "database": (lambda _: sqlite3.connect(":memory:"), "a database connection"),
    "pool of threads": (lambda _: ThreadPoolExecutor(1), "a pool of workers"),
    "event loop": (lambda _: asyncio.new_event_loop(), "an event loop"),
    "environment": (lambda _: os.environ, "the environment of this process"),
    "meta tensor": (lambda _: torch.empty(2, device="meta"), "a meta tensor"),
}


@pytest.mark.parametrize("case", LIVE.values(), ids=LIVE)
def test_live_things_are_refused_by_name_before_anything_starts(
    notebook: Notebook, tmp_path: Path, case: tuple[Any, str]
) -> None:
    make, what = case
    value = make(tmp_path)
    try:
        notebook.names["thing"] = value
        item = refused(notebook, "use(thing)\ndef use(x): pass")["thing"]
    finally:
        if not isinstance(value, os._Environ):
            getattr(value, "close", lambda: None)()
    assert item.kind is CaptureKind.REFUSED
    assert "`thing` " in item.reason
    assert what in item.reason


def test_a_running_program_is_refused(notebook: Notebook) -> None:
    notebook.names["program"] = object.__new__(subprocess.Popen)
    notebook.names["program"].returncode = 0
    notebook.names["program"]._child_created = False
    assert "a running program" in refused(notebook, "program")["program"].reason


def test_objects_of_jupyter_are_refused(notebook: Notebook) -> None:
    from IPython.core.history import HistoryManager

    notebook.names.update(In=["1"], manager=HistoryManager.__new__(HistoryManager))
    found = refused(notebook, "In, manager")
    assert "lives in the notebook" in found["In"].reason
    assert "IPython.core.history.HistoryManager" in found["manager"].reason


def test_the_culprit_inside_is_named(notebook: Notebook, tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("w") as file:
        notebook.names["cfg"] = {"log": SimpleNamespace(stream=file)}
        item = refused(notebook, "cfg")["cfg"]
    assert "an open file" in item.reason
    assert "['log'].stream" in item.reason
    assert item.hint


def test_all_problems_are_told_at_once(notebook: Notebook) -> None:
    notebook.names.update(lock=threading.Lock(), api_key="0123456789abcdef", model=1)
    with pytest.raises(CaptureError) as caught:
        notebook.capture("lock, api_key, mdoel, get_ipython()")
    assert {item.name for item in caught.value.items} == {"lock", "api_key", "mdoel", "get_ipython"}
    assert "4 names" in caught.value.message
    assert "did you mean model?" in caught.value.message
    assert "--keep" in caught.value.hint


def test_who_needs_a_refused_name_is_told(notebook: Notebook) -> None:
    notebook.run("def inner(): return lock\ndef outer(): return inner()")
    notebook.names["lock"] = threading.Lock()
    assert "`inner` needs it" in refused(notebook, "outer()")["lock"].reason


def test_code_without_source_is_refused(notebook: Notebook) -> None:
    exec("def f(): return 1\nclass A: pass", notebook.names)  # noqa: S102
    notebook.names["A"].__module__ = "__main__"
    found = refused(notebook, "f(), A")
    assert "source is not known" in found["f"].reason
    assert "source is not known" in found["A"].reason


def test_a_function_made_anew_by_exec_is_not_taken_for_an_older_cells(notebook: Notebook) -> None:
    notebook.run("def f(): return 'the cell'")
    exec("def f(): return 'exec'", notebook.names)  # noqa: S102
    assert "source is not known" in refused(notebook, "f()")["f"].reason


def test_a_variable_over_an_older_function_is_data(notebook: Notebook) -> None:
    notebook.run("def f(): return 1")
    notebook.names["f"] = {"fetched": True}
    assert result(notebook, "out = f") == {"fetched": True}


def test_a_class_made_in_a_function_is_refused(notebook: Notebook) -> None:
    notebook.run("def make():\n    class A: pass\n    return A\nfor A in [make()]: pass\na = A()")
    found = refused(notebook, "A, a")
    assert "made inside a function" in found["A"].reason
    assert "inside a function" in found["a"].reason


def test_an_instance_of_an_earlier_class_is_refused(notebook: Notebook) -> None:
    notebook.run("class A: pass\na = A()")
    notebook.run("class A: x = 1")
    item = refused(notebook, "a")["a"]
    assert "earlier definition" in item.reason
    assert "make the value again" in item.hint


def test_closures_that_go_round_are_refused(notebook: Notebook) -> None:
    notebook.run(
        "def make():\n    def f(n): return n and g(n - 1)\n    def g(n): return n and f(n - 1)\n"
        "    return f\nfor f in [make()]: pass"
    )
    assert "close over each other" in refused(notebook, "f(1)")["f"].reason


def test_a_closure_over_one_not_yet_complete_is_refused(notebook: Notebook) -> None:
    notebook.run(
        "def make():\n    def g(): return late\n    def f(): return g\n    return f\n    late = 1\n"
        "for f in [make()]: pass"
    )
    assert "reads `late`" in refused(notebook, "f()")["f.g"].reason


def test_a_method_torn_from_a_class_nobody_can_reach_is_refused(notebook: Notebook) -> None:
    notebook.run(
        "def make():\n    class A:\n        def m(self): return super().__repr__()\n    return A.m\n"
        "for f in [make()]: pass"
    )
    assert "taken out of a class" in refused(notebook, "f")["f"].reason


def test_functions_that_their_module_does_not_have_are_refused(notebook: Notebook) -> None:
    import json

    notebook.names["copied"] = FunctionType(json.dumps.__code__, vars(json), "dumps")
    notebook.names["lost"] = FunctionType(json.dumps.__code__, {"__name__": "nowhere"}, "lost")
    found = refused(notebook, "copied, lost")
    assert "its module does not have by name (json.dumps)" in found["copied"].reason
    assert "(nowhere." in found["lost"].reason


def test_a_function_cached_by_hand_under_its_own_name_is_refused(notebook: Notebook) -> None:
    notebook.run("import functools\ndef f(): return 1\nf = functools.lru_cache(f)")
    assert "source is not known" in refused(notebook, "f()")["f"].reason


def test_a_closure_not_yet_complete_is_refused(notebook: Notebook) -> None:
    notebook.run(
        "def make():\n    def f(): return k\n    return f\n    k = 1\nfor f in [make()]: pass"
    )
    assert "has not set it yet" in refused(notebook, "f()")["f"].reason


def test_a_refused_part_of_a_closure_is_named(notebook: Notebook) -> None:
    notebook.run(
        "import threading\ndef make(lock):\n    def f(): return lock\n    return f\n"
        "f = make(threading.Lock())"
    )
    assert "`f.lock` is a thread lock" in refused(notebook, "f()")["f.lock"].reason


def test_a_stale_call_is_not_run_again(notebook: Notebook) -> None:
    notebook.run("import functools\ndef f(): return 1\ng = functools.lru_cache(f)")
    assert result(notebook, "out = g()") == 1
    notebook.run("def f(): return 2")
    refused(notebook, "g()")


def test_an_implementation_that_no_cell_has_registered_is_refused(notebook: Notebook) -> None:
    notebook.run(
        "from functools import singledispatch\n@singledispatch\ndef f(x): return 'any'\n"
        "exec('@f.register(int)\\ndef _(x): return 1')"
    )
    item = refused(notebook, "f(1)")["f"]
    assert "no cell that was seen has registered" in item.reason
    assert "@f.register" in item.hint


# --- names that are nowhere -------------------------------------------------------------------------


def test_a_misspelt_name_is_found_before_anything_starts(notebook: Notebook) -> None:
    notebook.names["model"] = 1
    item = refused(notebook, "x = 1\nmdoel.train()")["mdoel"]
    assert item.kind is CaptureKind.MISSING
    assert "line 2" in item.reason
    assert item.hint == "did you mean model?"
    assert refused(notebook, "pritn(1)")["pritn"].hint == "did you mean print?"


def test_a_name_that_a_star_import_may_bring_is_not_called_misspelt(notebook: Notebook) -> None:
    notebook.names["sq"] = 1
    item = items(notebook.capture("from math import *\nsqrt(4)"))["sqrt"]
    assert item.reason == "`sqrt` (line 2) is taken to come from `import *`"
    assert not item.hint


@pytest.mark.parametrize(
    "cell",
    [
        "try: nowhere\nexcept NameError: pass",
        "if 0: nowhere",
        "def f(): nowhere",
        "from math import *\nnowhere",
        "exec('nowhere = 1')\nnowhere",
        "[nowhere for _ in []]",
    ],
)
def test_a_name_that_may_not_be_missed_is_only_listed(notebook: Notebook, cell: str) -> None:
    item = items(notebook.capture(cell))["nowhere"]
    assert item.kind is CaptureKind.MISSING
    assert "nowhere" in item.reason


@pytest.mark.parametrize(
    "cell",
    [
        "def f():\n    global made\n    made = 1\nf()\nmade",
        "if input:\n    made = 1\nmade",
    ],
)
def test_a_name_that_the_cell_makes_on_some_path_is_not_missed(
    notebook: Notebook, cell: str
) -> None:
    assert "made" not in items(notebook.capture(cell))


def test_a_name_that_a_function_of_the_notebook_makes_is_not_missed(notebook: Notebook) -> None:
    notebook.run("def init():\n    global made\n    made = 1")
    assert result(notebook, "init()\nout = made") == 1


def test_a_name_missing_where_a_definition_needs_it_is_told(notebook: Notebook) -> None:
    notebook.run("class B: pass\nclass A(B): pass\ndel B")
    found = refused(notebook, "A()")
    assert "read by `A`" in found["B"].reason


def test_a_name_missing_in_a_function_is_listed(notebook: Notebook) -> None:
    notebook.run("def f(): return nowhere")
    assert "read by `f`" in items(notebook.capture("f"))["nowhere"].reason


# --- options ----------------------------------------------------------------------------------------


def test_names_to_send_must_be_there(notebook: Notebook) -> None:
    notebook.names["weights"] = 1
    with pytest.raises(UsageError, match="--send wieghts") as caught:
        notebook.capture("1", send=["wieghts"])
    assert caught.value.hint == "did you mean weights?"


def test_a_name_is_not_both_sent_and_kept(notebook: Notebook) -> None:
    notebook.names["a"] = 1
    with pytest.raises(UsageError, match="both"):
        notebook.capture("1", send=["a"], keep=["a"])


@pytest.mark.parametrize("name", ["a.b", "1a", "", "a b"])
def test_names_to_fetch_must_be_names(notebook: Notebook, name: str) -> None:
    with pytest.raises(UsageError, match="not a name"):
        notebook.capture("a = 1", fetch=[name])


def test_names_that_will_not_be_there_to_fetch_are_told(notebook: Notebook) -> None:
    notebook.run("model = 1\ndef init():\n    global made\n    made = 1")
    cell = "history = []\nmodel\ninit()\nif model:\n    state = 1"
    capture = notebook.capture(cell, fetch=["history", "model", "made", "state", "hisotry"])
    told = [item for item in capture.manifest.items if item.kind is CaptureKind.MISSING]
    assert [item.name for item in told] == ["hisotry"]
    assert told[0].hint == "did you mean history?"
    assert "never binds" in told[0].reason


def test_names_to_fetch_are_not_judged_where_they_cannot_be_known(notebook: Notebook) -> None:
    assert items(notebook.capture("exec('a = 1')", fetch=["a"])) == {}


# --- secrets ----------------------------------------------------------------------------------------


def test_secrets_are_refused_and_pointed_to_their_option(notebook: Notebook) -> None:
    notebook.run("API_KEY = 'abcdefgh12345678'\ndef client(): return API_KEY")
    item = refused(notebook, "client()")["API_KEY"]
    assert "looks like a secret" in item.reason
    assert "--secret API_KEY" in item.hint
    assert "abcdefgh12345678" not in item.reason


def test_secrets_inside_of_things_are_refused(notebook: Notebook) -> None:
    notebook.run(
        "class Conf:\n    def __init__(self): self.password = 'hunter2'\n"
        "conf = Conf()\ncfg = {'db': {'password': 'hunter2'}}"
    )
    found = refused(notebook, "conf, cfg")
    assert "conf.password" in found["conf"].reason
    assert "cfg['db']['password']" in found["cfg"].reason
    assert "hunter2" not in found["cfg"].reason


def test_a_secret_given_by_name_is_read_on_the_rank(
    notebook: Notebook, monkeypatch: pytest.MonkeyPatch
) -> None:
    notebook.run("HF_TOKEN = 'hf_" + "a1" * 20 + "'\ndef login(): return HF_TOKEN")
    capture = notebook.capture("out = login()", secrets=["HF_TOKEN"])
    assert "a1a1" not in capture.context + repr(capture.variables)
    monkeypatch.setenv("HF_TOKEN", "the real one")
    assert run_on_rank(capture)["out"] == "the real one"
    assert items(capture)["HF_TOKEN"].how == "environment of the ranks"


def test_a_secret_closed_over_is_refused(notebook: Notebook) -> None:
    notebook.run("def make(password):\n    return lambda: password\nf = make('hunter2')")
    assert "f.password" in refused(notebook, "f()")


# --- text that is no script -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "line", "hint"),
    [
        ("x = 1\n%time f()", "line 2: %time f()", "perf_counter"),
        ("%%timeit\nx", "line 1: %%timeit", "timeit.timeit"),
        ("if 1:\n    !pip install x", "line 2: !pip install x", "install it where the pool runs"),
        ("files = !ls", "line 1: files = !ls", "subprocess.run"),
        ("x = %env HOME", "line 1: x = %env HOME", "--env"),
        ("print?", "line 1: print?", "question mark"),
        ("?print", "line 1: ?print", "cell of its own"),
        ("%matplotlib inline\nx = (", "line 1: %matplotlib inline", "cell of its own"),
    ],
)
def test_commands_of_ipython_are_refused_by_line(
    notebook: Notebook, cell: str, line: str, hint: str
) -> None:
    with pytest.raises(CaptureError) as caught:
        notebook.capture(cell)
    assert line in caught.value.message
    assert hint in caught.value.hint


def test_several_commands_are_told_at_once(notebook: Notebook) -> None:
    with pytest.raises(CaptureError) as caught:
        notebook.capture("%time a\nb = '''\n%not one\n'''\n!ls")
    assert "line 1: %time a" in caught.value.message
    assert "line 5: !ls" in caught.value.message
    assert "not one" not in caught.value.message


def test_a_syntax_error_shows_its_place(notebook: Notebook) -> None:
    with pytest.raises(CaptureError) as caught:
        notebook.capture("x = 1\nif x:\n    for i in range(3)\n        pass")
    lines = caught.value.message.splitlines()
    assert "line 3" in lines[0]
    assert lines[1] == "  for i in range(3)"
    assert lines[2] == "                   ^"


@pytest.mark.parametrize(
    ("cell", "what"),
    [
        ("await f()", "outside function"),
        ("return 1", "outside function"),
        ("x = 5 % 3\ny = (", "never closed"),
        ("x = '\0'", "null"),
        ("x = '\ud800'", "not Python"),
    ],
)
def test_what_python_would_refuse_is_refused(notebook: Notebook, cell: str, what: str) -> None:
    with pytest.raises(CaptureError, match=what):
        notebook.capture(cell)


def test_await_has_a_hint(notebook: Notebook) -> None:
    with pytest.raises(CaptureError) as caught:
        notebook.capture("import asyncio\nawait asyncio.sleep(1)")
    assert "asyncio.run" in caught.value.hint


def test_get_ipython_can_be_kept_by_those_who_do_without(notebook: Notebook) -> None:
    notebook.run(
        "def here():\n    try:\n        return get_ipython()\n    except NameError:\n        return None"
    )
    assert "get_ipython" in refused(notebook, "here()")
    assert result(notebook, "out = here()", keep=["get_ipython"]) is None


# --- any notebook -----------------------------------------------------------------------------------


NAMES = [f"n{number}" for number in range(8)]


@st.composite
def notebooks(draw: st.DrawFn) -> tuple[list[str], str]:
    """Cells that define names by other names, and a cell that uses some of them."""
    cells: list[str] = []
    for number, name in enumerate(NAMES):
        earlier = NAMES[:number]
        later = draw(st.lists(st.sampled_from(NAMES), max_size=2))
        now = draw(st.lists(st.sampled_from(earlier), max_size=2)) if earlier else []
        reads = ", ".join([*later, "0"])
        defaults = ", ".join(f"a{place}={other}" for place, other in enumerate(now))
        kind = draw(
            st.sampled_from(
                ["data", "function", "class", "lambda", "closure", "decorated", "alias"]
            )
        )
        if kind == "function":
            cells.append(
                f"def {name}({defaults}): return ('{name}', [type(v) for v in ({reads},)])"
            )
        elif kind == "class":
            attributes = "".join(f"    {other} = {other}\n" for other in now)
            cells.append(f"class {name}:\n{attributes}    def __call__(self): return ({reads},)")
        elif kind == "lambda":
            cells.append(f"{name} = lambda {defaults}: ({reads},)")
        elif kind == "closure":
            cells.append(
                f"def make_{name}(k):\n    def inner(): return (k, {reads})\n    return inner\n"
                f"{name} = make_{name}({now[0] if now else 3})"
            )
        elif kind == "decorated":
            cells.append(
                f"def deco_{name}(f):\n    print({', '.join([*now, '0'])})\n    return f\n"
                f"@deco_{name}\ndef {name}(): return ({reads},)"
            )
        elif kind == "alias" and earlier:
            cells.append(f"{name} = {draw(st.sampled_from(earlier))}")
        else:
            cells.append(f"{name} = [{number}]")
    used = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    calls = ", ".join(f"({name}() if callable({name}) else {name})" for name in used)
    return cells, f"out = str([{calls}])"


@given(notebooks())
@settings(max_examples=60, deadline=None)
def test_any_notebook_runs_elsewhere(given_: tuple[list[str], str]) -> None:
    cells, cell = given_
    notebook = Notebook(Path("/"))
    for source in cells:
        notebook.run(source)
    capture = notebook.capture(cell)
    ast.parse(capture.context)
    run_on_rank(capture)  # no NameError, whatever refers to what


def test_the_fixture_puts_main_back(notebook: Notebook) -> None:
    before = sys.modules["__main__"]
    notebook.run("x = 1").capture("x")
    assert sys.modules["__main__"] is before
