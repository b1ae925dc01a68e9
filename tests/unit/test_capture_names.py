"""What code needs from elsewhere: by table, against Python's own scopes, and by running it."""

from __future__ import annotations

import ast
import builtins
import symtable
import sys
import textwrap
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jupyter_aiinfra.capture.names import Names, Use, analyse
from jupyter_aiinfra.capture.scopes import Reader

BUILTINS = frozenset(dir(builtins))


def names(source: str) -> Names:
    return analyse(ast.parse(textwrap.dedent(source)).body)


def uses(source: str) -> dict[str, Use]:
    return {name: use for name, use in names(source).uses.items() if name not in BUILTINS}


def needed(source: str) -> str:
    """All names needed, as words: ``x`` surely read, ``x?`` perhaps bound by the code itself,
    ``(x)`` in annotations only."""
    words = []
    for name, use in sorted(uses(source).items()):
        words.append(f"({name})" if use.soft else name + ("?" if use.optional else ""))
    return " ".join(words)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # in order
        ("print(x)", "x"),
        ("x = 1; print(x)", ""),
        ("print(x); x = 1", "x"),
        ("x = x + 1", "x"),
        ("x += 1", "x"),
        ("x: int = y", "y"),
        ("x: int; print(x)", "x"),
        ("a, (b, *c) = d; a, b, c", "d"),
        ("a.b = 1", "a"),
        ("a[i] = v", "a i v"),
        ("a[i] += v", "a i v"),
        ("a.b.c += v", "a v"),
        ("del x", "x"),
        ("x = 1; del x; x", ""),
        ("del x[i], y.z", "i x y"),
        ("x = y = z; x, y", "z"),
        ("(y := x) + y", "x"),
        ("y + (y := x)", "x y"),
        ("f'{x!r:>{w}} {y=}'", "w x y"),
        ("{**a, b: c}", "a b c"),
        ("{k: (k := 1)}", "k"),
        ("print(*a, **b)", "a b"),
        ("a[b:c, d]", "a b c d"),
        ("assert a, b", "a b"),
        ("raise a from b", "a b"),
        ("raise a\n(lambda: x)()\n[y for _ in z]", "a"),
        ("assert a", "a"),
        ("for i in r:\n    continue\n    (lambda: x)()", "r"),
        ("await_ = lambda: x; await_()", "x"),
        # of imports
        ("import a.b; a.b.c", ""),
        ("import a.b as c; a, c", "a"),
        ("from a import b as c, d; b, c, d", "b"),
        ("from a import *; x", "x"),
        # branches
        ("if c: x = 1\nelse: x = 2\nx", "c"),
        ("if c: x = 1\nx", "c x?"),
        ("if c: x = 1\nelse: raise ValueError\nx", "c"),
        ("if __name__ == '__main__':\n    x = 1\nx", ""),
        ("if c: del x\nx", "c x"),
        ("c and (x := 1); x", "c x?"),
        ("(x := 1) and c; x", "c"),
        ("a if c else b", "a b c"),
        ("(x := 1) if c else (x := 2); x", "c"),
        ("a < b < (x := 1); x", "a b x?"),
        ("match v:\n    case A(b=1): x = 1\n    case _: x = 2\nx", "A v"),
        ("match v:\n    case 1: x = 1\nx", "v x?"),
        ("match v:\n    case {'k': w}: w\n    case [*_]: pass", "v"),
        ("match v:\n    case [a, *b] if a > t: a, b\n    case {'k': k, **r}: k, r", "t v"),
        ("match v:\n    case m.X | m.Y as w: w\n    case w: w", "m v"),
        # loops
        ("for i in r: i\ni", "i? r"),
        ("for i in r:\n    print(x)\n    x = i", "r x"),
        ("for i in r: x = i\nelse: x = 0\nx", "r"),
        ("for i in r:\n    if c: break\n    x = 1\nelse:\n    x = 2\nx", "c r x?"),
        ("for i in r:\n    if c: continue\n    x = 1\n    x", "c r"),
        ("for a.b in r: pass", "a r"),
        ("while True:\n    x = 1\n    if x: break\nx", ""),
        ("while True:\n    if c: break\n    x = 1\nx", "c x?"),
        ("while c: x = 1\nx", "c x?"),
        ("while (x := f()): pass\nx", "f"),
        ("while True: pass\nx", ""),
        # with and try
        ("with a as b: c = b\nc", "a"),
        ("with a() as b, c(b) as d: d", "a c"),
        ("with suppress(E): x = f()\nx", "E f suppress x?"),
        ("with contextlib.suppress(E): x = 1\nx", "E contextlib x?"),
        ("try: x = 1\nexcept E: x = 2\nx", "E"),
        ("try: x = 1\nexcept E: pass\nx", "E x?"),
        ("try: x = 1\nexcept E: raise\nx", "E"),
        ("try: x = f()\nexcept E as e: print(e, x)", "E f x?"),
        ("try: pass\nexcept E as e: pass\ne", "E e?"),
        ("try: x = 1\nfinally: print(x)", "x?"),
        ("try: x = 1\nexcept: x = y\nx", "y"),
        ("try: pass\nfinally: x = 1\nx", ""),
        ("try: x = 1\nexcept E: y = 1\nelse: y = x\nfinally: pass\ny", "E"),
        ("try:\n    import a\nexcept ImportError:\n    import b as a\na", ""),
        # comprehensions
        ("[x for x in r if x > t]", "r t"),
        ("[x for x in x]", "x"),
        ("[y for x in r for y in x]", "r"),
        ("{k: v for k, v in d.items()}", "d"),
        ("x = 1; [x for _ in r]", "r"),
        ("[(z := x) for x in r]; z", "r z?"),
        ("list(x + k for x in r)", "k r"),
        ("[[i * j for i in a] for j in b]", "a b"),
        ("[lambda: x for x in r]", "r"),
        # functions
        ("def f(a, *b, c, **d): return a, b, c, d, e", "e"),
        ("def f(a=x, *, b=y): pass", "x y"),
        ("@d(e)\ndef f(): pass", "d e"),
        ("def f(): return f()", ""),
        ("def f(): return g()\ndef g(): return f()", ""),
        ("def f():\n    x = 1\n    def g(): return x + y\n    return g", "y"),
        ("def f():\n    def g():\n        nonlocal x\n        x = 1\n    x = 0", ""),
        ("def f():\n    global x\n    x = 1\nf(); x", "x"),
        ("def f():\n    global x\n    x += 1", "x?"),
        ("def f():\n    if 0: x = 1\n    return x", ""),
        ("def f():\n    del x", ""),
        ("def f():\n    for i in r: pass\n    return i", "r"),
        ("def f():\n    import a.b\n    return a", ""),
        ("def f():\n    with o() as p: return p", "o"),
        ("def f():\n    try: pass\n    except E as e: return e", "E"),
        ("def f():\n    match v:\n        case {'a': a, **b}: return a, b", "v"),
        ("def f(x):\n    return [x for x in x if (y := x)], y", ""),
        (
            "def f():\n    class A:\n        b = c\n        def m(self): return b\n    return A",
            "b c",
        ),
        ("def f():\n    x = 1\n    class A:\n        x = x\n        y = x\n    return A", ""),
        ("def f():\n    class A:\n        x = x\n    return A", "x"),
        ("def f():\n    def g(a=x, *, b=y, c): return a", "x y"),
        ("def f():\n    @d\n    class A: pass", "d"),
        ("def f():\n    a.b += c", "a c"),
        ("def f():\n    a.b: T\n    c: U", "(T) (U) a"),
        ("def f():\n    match v:\n        case [a, *b] | {'k': 1}: return a, b", "v"),
        ("async def f():\n    async with a as b: return [c async for c in b]", "a"),
        ("lambda a, *b, c=d, **e: (a, b, c, e, g)", "d g"),
        # what functions read, and when they can be called
        ("def f(): return x\nx = 1\nf()", ""),
        ("def f(): return x\nf()\nx = 1", "x?"),
        ("def f(): return x\nif c: x = 1\nf()", "c x?"),
        ("def f(): return g()\ndef g(): return x\nx = 1\nf()", ""),
        ("def f(): return g()\nf()\ndef g(): return x", "g? x"),
        ("g = lambda: x\nx = 1\ng()", ""),
        ("h = g = lambda: x\ng()\nx = 1", "x?"),
        ("call(lambda: x)\nx = 1", "call x?"),
        ("class A:\n    def m(self): return x\na = A()\nx = 1", "x?"),
        ("class A:\n    def m(self): return x\nx = 1\nA()", ""),
        ("def f(): return x\nx = 1", ""),
        ("def f(): return x", "x"),
        # classes
        ("class A(B, metaclass=M): pass", "B M"),
        ("class A:\n    x = 1\n    y = x\n    def m(self): return y", "y"),
        ("class A:\n    x = x", "x"),
        ("class A:\n    if c: x = 1\n    y = x", "c x?"),
        ("class A:\n    def m(self): return A, __class__, super()", ""),
        ("class A:\n    xs = r\n    ys = [x + k for x in xs]", "k r"),
        ("class A:\n    k = 1\n    ys = [k for x in r]", "k r"),
        ("class A:\n    class B:\n        z = 1\n    w = B.z", ""),
        ("class A:\n    z = 1\n    class B:\n        w = z", "z"),
        ("class A:\n    global g\n    g = 1\ng", ""),
        ("class A:\n    def m(self): return __x", "_A__x"),
        ("class _A:\n    def m(self): return self.__y", ""),
        ("class A:\n    x: T = v", "T v"),
        ("class A:\n    f = lambda self: x\nx = 1\nA", ""),
        # annotations
        ("def f(a: T, *b: U) -> V: c: W = 1", "T U V (W)"),
        ("def f(a: 'T') -> 'list[U]': pass", "(T) (U)"),
        ("from __future__ import annotations\ndef f(a: T): pass\nx: U = 1", "(T) (U)"),
        ("x: 'T' = 1", "(T)"),
        ("x: Literal['T', 'U'] = 1", "Literal"),
        ("x: 'not a type!' = 1", ""),
        ("x: Optional['T'] = 1", "Optional (T)"),
        ("x: 'T' = 1\nclass T: pass", ""),
        # Python's own
        ("__name__, __file__, __doc__", ""),
        ("__version__", "__version__"),
    ],
)
def test_needed_names(source: str, expected: str) -> None:
    assert needed(source) == expected


@pytest.mark.skipif(sys.version_info < (3, 12), reason="syntax of Python 3.12")
@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def f[T: B](x: T) -> list[T]: return x, y", "(B) y"),
        ("class A[T](Base[T]):\n    x: T", "Base"),
        ("type X[T] = list[T] | Y\nX", "(Y)"),
    ],
)
def test_type_parameters_are_no_needs(source: str, expected: str) -> None:
    assert needed(source) == expected


@pytest.mark.parametrize(
    ("source", "certain"),
    [
        ("x", True),
        ("y = x", True),
        ("f(x)", True),
        ("for i in x: pass", True),
        ("if x: pass", True),
        ("if __name__ == '__main__': x", True),
        ("with torch.no_grad(): x", True),
        ("def f(a=x): pass", True),
        ("class A:\n    y = x", True),
        ("[i for i in x]", True),
        ("if c: x", False),
        ("c and x", False),
        ("c or x", False),
        ("x if c else 0", False),
        ("assert c, x", False),
        ("for i in c: x", False),
        ("while c: x", False),
        ("try: x\nexcept NameError: pass", False),
        ("try: pass\nfinally: x", False),
        ("with suppress(NameError): x", False),
        ("def f(): x\nf()", False),
        ("(lambda: x)()", False),
        ("[x for i in c]", False),
        ("match c:\n    case 1: x", False),
        ("if c: x = 1\nx", False),
        ("class A:\n    if c: x = 1\n    x", False),
    ],
)
def test_only_unconditional_code_surely_reads(source: str, certain: bool) -> None:
    assert uses(source)["x"].certain is certain


@pytest.mark.parametrize(
    ("source", "now"),
    [
        ("def f(a=x): pass", True),
        ("@x\ndef f(): pass", True),
        ("def f(): return x", False),
        ("f = lambda: x", False),
        ("f = lambda a=x: a", True),
        ("class A(x): pass", True),
        ("class A:\n    y = x", True),
        ("class A:\n    def m(self): return x", False),
        ("class A:\n    def m(self, a=x): pass", True),
        ("class A:\n    y: list = field(default_factory=lambda: [x])", True),
        ("y = [x for _ in z]", True),
    ],
)
def test_what_is_read_while_it_is_defined(source: str, now: bool) -> None:
    assert uses(source)["x"].now is now


def test_the_line_is_the_first_that_reads() -> None:
    found = uses("y = 1\nif y:\n    x\nx")
    assert found["x"].line == 3


def test_names_bound_before_a_function_can_run_are_told() -> None:
    source = "x = 1\nf()\ny = 2\ng()\nf()\nif x:\n    z = 1\nh()"
    found = uses(source)
    assert found["f"].shadowed == {"x"}
    assert found["g"].shadowed == {"x", "y"}
    assert found["h"].shadowed == {"x", "y"}


def test_attribute_chains_are_told() -> None:
    source = """
        a.b.c(a.d)
        def f(): return a.e.f
        [a.g for _ in a.h]
        class C(a.i.J): pass
        def k(x: a.t = a.u): pass
    """
    assert uses(source)["a"].chains == {
        ("b", "c"),
        ("d",),
        ("e", "f"),
        ("g",),
        ("h",),
        ("i", "J"),
        ("t",),
        ("u",),
    }


def test_what_the_code_binds() -> None:
    found = names(
        """
        import a.b
        from c import d as e
        def f():
            global g
            g = 1
            local = 2
        class H: inner = 1
        if x:
            i = 1
        for j, (k, *l) in y: pass
        with z as m: pass
        try: pass
        except E as n: pass
        match v:
            case [o, *p]: pass
        (q := 1)
        [(r := s) for s in t]
        u: int = 1
        """
    )
    assert found.assigned == set("aefgHijklmnopqru")
    assert found.written == {"g"}
    assert not found.star
    assert not found.dynamic


def test_stars_and_dynamic_code_are_told() -> None:
    assert names("from a import *").star
    assert names("exec(code)").dynamic
    assert names("def f(): globals()['x'] = 1").dynamic
    assert not names("model.eval()").dynamic


# --- functions, against the compiler's own symbol tables -----------------------------------------

NAMES = st.sampled_from("abcdexyz")


def _block(statements: list[str]) -> str:
    return textwrap.indent("\n".join(statements) or "pass", "    ")


def _expressions() -> st.SearchStrategy[str]:
    simple = st.one_of(NAMES, NAMES.map(lambda n: f"f'{{{n}}}'"), st.just("()"))
    return st.recursive(
        simple,
        lambda inner: st.one_of(
            st.tuples(inner, inner).map(lambda p: f"({p[0]}, {p[1]})"),
            st.tuples(NAMES, inner).map(lambda p: f"(lambda {p[0]}: {p[1]})"),
            st.tuples(NAMES, inner, inner, inner).map(
                lambda p: f"[{p[1]} for {p[0]} in [{p[2]}] if {p[3]}]"
            ),
            st.tuples(inner, inner, inner).map(lambda p: f"({p[0]} if {p[1]} else {p[2]})"),
            inner.map(lambda e: f"{e}.attr"),
        ),
        max_leaves=6,
    )


def _statements(*, functions: bool) -> st.SearchStrategy[list[str]]:
    expression = _expressions()
    simple = st.one_of(
        st.tuples(NAMES, expression).map(lambda p: f"{p[0]} = {p[1]}"),
        st.tuples(NAMES, expression).map(lambda p: f"{p[0]} += {p[1]}"),
        st.tuples(NAMES, expression).map(lambda p: f"({p[0]} := {p[1]})"),
        expression,
        NAMES.map(lambda n: f"import {n}"),
        NAMES.map(lambda n: f"del {n}"),
    )

    def nest(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        block = st.lists(inner, min_size=1, max_size=3).map(_block)
        kinds = [
            st.tuples(expression, block, block).map(lambda p: f"if {p[0]}:\n{p[1]}\nelse:\n{p[2]}"),
            st.tuples(NAMES, expression, block).map(lambda p: f"for {p[0]} in {p[1]}:\n{p[2]}"),
            st.tuples(block, NAMES, block).map(
                lambda p: f"try:\n{p[0]}\nexcept E as {p[1]}:\n{p[2]}"
            ),
            st.tuples(expression, NAMES, block).map(lambda p: f"with {p[0]} as {p[1]}:\n{p[2]}"),
        ]
        if functions:
            kinds += [
                st.tuples(NAMES, NAMES, expression, block).map(
                    lambda p: f"def {p[0]}({p[1]}={p[2]}):\n{p[3]}"
                ),
                st.tuples(NAMES, expression, block).map(lambda p: f"class {p[0]}({p[1]}):\n{p[2]}"),
            ]
        return st.one_of(kinds)

    return st.lists(st.recursive(simple, nest, max_leaves=6), min_size=1, max_size=5)


def _global_reads(table: symtable.SymbolTable) -> Iterator[str]:
    """Yield what the compiler looks up in the module (or, in a class body, perhaps there)."""
    for symbol in table.get_symbols():
        if symbol.is_global() and symbol.is_referenced():
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _global_reads(inner)


@given(_statements(functions=True))
@settings(max_examples=60, deadline=None)
def test_functions_read_what_the_compiler_says(statements: list[str]) -> None:
    source = "def function():\n" + _block(statements)
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    reader = Reader()
    reader.function(function)
    table = symtable.symtable(source, "cell", "exec").get_children()[0]
    compiled = {name for name in _global_reads(table) if not name.startswith("__")}
    found = set(reader.reads.names)
    assert compiled <= found
    if "class " not in source:  # whose body may read a name before it binds it
        assert found <= compiled


# --- programs, by running them -------------------------------------------------------------------


class Anything:
    """A value that can be used in any way, so that a program stops for want of a name only."""

    def __init__(self) -> None:
        self._asked = 0

    def __getattr__(self, name: str) -> Anything:
        if name.startswith("__"):
            raise AttributeError(name)
        return self

    def __iter__(self) -> Iterator[Anything]:
        return iter([self, self])

    def __add__(self, _: object) -> Anything:
        return self

    __radd__ = __add__

    def __bool__(self) -> bool:
        self._asked += 1
        return self._asked < 20 and self._asked % 3 != 0  # no loop goes on for ever

    def __enter__(self) -> Anything:  # noqa: PYI034 - no Self before Python 3.11
        return self

    def __exit__(self, *_: object) -> None:
        return None


def _program_statements() -> st.SearchStrategy[list[str]]:
    value = st.one_of(
        NAMES,
        NAMES.map(lambda n: f"call({n})"),
        st.tuples(NAMES, NAMES).map(lambda p: f"[{p[0]} for {p[1]} in o]"),
        st.tuples(NAMES, NAMES).map(lambda p: f"({p[0]} if o else {p[1]})"),
        st.tuples(NAMES, NAMES).map(lambda p: f"(o and ({p[0]} := {p[1]}))"),
        NAMES.map(lambda n: f"(lambda: {n})"),
        NAMES.map(lambda n: f"(lambda: {n})()"),
        st.just("o"),
    )
    simple = st.one_of(
        st.tuples(NAMES, value).map(lambda p: f"{p[0]} = {p[1]}"),
        value.map(lambda v: f"call({v})"),
        NAMES.map(lambda n: f"from sys import path as {n}"),
    )

    def nest(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        block = st.lists(inner, min_size=1, max_size=3).map(_block)
        return st.one_of(
            st.tuples(block, block).map(lambda p: f"if o:\n{p[0]}\nelse:\n{p[1]}"),
            block.map(lambda b: f"if o:\n{b}"),
            st.tuples(NAMES, block).map(lambda p: f"for {p[0]} in o:\n{p[1]}"),
            block.map(lambda b: f"for _ in o:\n    if o: break\n{b}"),
            block.map(lambda b: f"for _ in o:\n{b}\n    if o: continue\n    o"),
            block.map(lambda b: f"while o:\n{b}"),
            st.tuples(block, block).map(
                lambda p: f"try:\n    if o: raise KeyError\n{p[0]}\nexcept KeyError:\n{p[1]}"
            ),
            st.tuples(block, block).map(lambda p: f"try:\n{p[0]}\nfinally:\n{p[1]}"),
            st.tuples(NAMES, block).map(lambda p: f"with o as {p[0]}:\n{p[1]}"),
            st.tuples(NAMES, block).map(lambda p: f"def {p[0]}(*_):\n{p[1]}"),
            st.tuples(NAMES, NAMES).map(
                lambda p: f"def {p[0]}(*_):\n    global {p[1]}\n    {p[1]} = o"
            ),
            st.tuples(NAMES, block).map(
                lambda p: (
                    f"class {p[0]}:\n    def __init__(self, *_):\n{textwrap.indent(p[1], '    ')}"
                )
            ),
            st.tuples(NAMES, block).map(
                lambda p: f"match o:\n    case {p[0]} if o:\n{textwrap.indent(p[1], '    ')}"
            ),
        )

    return st.lists(st.recursive(simple, nest, max_leaves=8), min_size=1, max_size=6)


class Enough(BaseException):
    """Ends a program that calls without end."""


class Caller:
    """Calls what can be called, so many times."""

    def __init__(self) -> None:
        self._left = 30

    def __call__(self, value: object) -> object:
        self._left -= 1
        if self._left < 0:
            raise Enough
        return value() if callable(value) else value


def _unresolved(source: str, given_names: set[str]) -> str | None:
    """Run `source` where only `given_names` exist; return the name it stops for, if any."""
    namespace: dict[str, object] = {name: Anything() for name in given_names}
    namespace.update({"o": Anything(), "call": Caller(), "__name__": "__main__"})
    try:
        exec(source, namespace)  # noqa: S102
    except UnboundLocalError:
        return None  # a mistake of the program that no notebook name would mend
    except NameError as error:
        return error.name
    except (TypeError, AttributeError, Enough):
        return None
    return None


@given(_program_statements())
@settings(max_examples=120, deadline=None)
def test_programs_run_with_what_they_need(statements: list[str]) -> None:
    source = "\n".join(statements)
    everything = set("abcdexyz")
    if _unresolved(source, everything) is not None:
        return  # stops in the notebook as well
    found = set(analyse(ast.parse(source).body).uses)
    assert _unresolved(source, everything & found) is None, (source, found)
