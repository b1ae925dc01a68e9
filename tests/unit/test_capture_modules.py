"""Modules of the user's own travel as files, with those they import; installed ones do not."""

from __future__ import annotations

import ast
import json
import site
import sys
from collections.abc import Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType

import pytest

from jupyter_aiinfra.capture import capture_script
from jupyter_aiinfra.capture import modules as modules_module
from jupyter_aiinfra.capture.imports import submodule_lines
from jupyter_aiinfra.capture.modules import LocalModules, imported
from jupyter_aiinfra.errors import CaptureError, UsageError
from jupyter_aiinfra.model import CaptureKind
from tests.support.notebook import Notebook


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on ``sys.path``; modules imported from it are forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def write(folder: Path, files: dict[str, str | bytes]) -> None:
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        data = content.encode() if isinstance(content, str) else content
        (folder / path).write_bytes(data)


PACKAGE: dict[str, str | bytes] = {
    "mylib/__init__.py": "from mylib.core import Thing",
    "mylib/core.py": "import numpy\nimport helpers\nclass Thing:\n    x = 1\ndef f(): return 2",
    "mylib/data/table.json": "{}",
    "mylib/data/weights.bin": b"0" * (2 << 20),
    "mylib/__pycache__/core.cpython-311.pyc": b"",
    "mylib/old.pyc": b"",
    "mylib/.git/config": "",
    "mylib/.hidden": "",
    "helpers.py": "from unused_of_helpers import y\nimport json",
    "unused_of_helpers.py": "y = 1",
    "elsewhere.py": "",
}


def test_a_package_travels_whole_with_what_it_imports(project: Path) -> None:
    write(project, PACKAGE)
    notebook = Notebook(project).run("import mylib as m\nfrom mylib import Thing\nt = Thing()")
    capture = notebook.capture("out = m.core.f(), Thing, t")
    assert {
        path: file.relative_to(project).as_posix() for path, file in capture.sources.items()
    } == {
        path: path
        for path in (
            "helpers.py",
            "mylib/__init__.py",
            "mylib/core.py",
            "mylib/data/table.json",
            "mylib/data/weights.bin",
            "unused_of_helpers.py",
        )
    }
    found = {item.name: item for item in capture.manifest.items}
    assert found["mylib"].kind is CaptureKind.MODULE
    assert found["mylib"].how == "files of mylib (4)"
    assert found["mylib"].size_bytes == sum(
        (project / path).stat().st_size for path in capture.sources if path.startswith("mylib")
    )
    assert found["mylib"].reason == ""
    assert found["m"].how == "import mylib as m"
    assert "import mylib as m" in capture.context


def test_a_module_under_its_own_name_has_one_line(project: Path) -> None:
    write(project, {"alone.py": "x = 1"})
    notebook = Notebook(project).run("import alone")
    (item,) = notebook.capture("alone.x").manifest.items
    assert (item.kind, item.how) == (CaptureKind.MODULE, "files of alone.py (1)")


def test_what_only_the_cell_imports_travels_too(project: Path) -> None:
    write(project, {"pkg/__init__.py": "", "pkg/a.py": "from . import b", "pkg/b.py": ""})
    capture = Notebook(project).capture("def f():\n    from pkg.a import b\nimport json, torch")
    assert set(capture.sources) == {"pkg/__init__.py", "pkg/a.py", "pkg/b.py"}


def test_the_module_of_an_instances_class_travels(project: Path) -> None:
    write(project, {"kinds.py": "class Kind:\n    pass"})
    notebook = Notebook(project).run("import kinds\nthings = [kinds.Kind()]\ndel kinds")
    assert set(notebook.capture("things").sources) == {"kinds.py"}


def test_data_of_a_local_module_is_imported_unless_it_may_have_changed(project: Path) -> None:
    write(project, {"conf.py": "N = 3\nOPTIONS = {'a': 1}\nLOCK = __import__('threading').Lock()"})
    notebook = Notebook(project).run("from conf import N, OPTIONS, LOCK\nOPTIONS['a'] = 2")
    capture = notebook.capture("N, OPTIONS, LOCK")
    assert capture.context.splitlines()[2:] == ["from conf import LOCK", "from conf import N"]
    assert [entry["name"] for entry in capture.variables["variables"]] == ["OPTIONS"]


def test_namespace_packages_travel(project: Path) -> None:
    write(project, {"space/part/a.py": "x = 1", "space/part/b.txt": "b"})
    capture = Notebook(project).capture("import space.part.a")
    assert set(capture.sources) == {"space/part/a.py", "space/part/b.txt"}


def _sources(project: Path, code: str = "import pkg") -> set[str]:
    return set(Notebook(project).capture(code).sources)


def test_git_keeps_data_here_and_ours_keeps_anything(project: Path) -> None:
    (project / ".git").mkdir()
    write(
        project,
        {
            ".gitignore": "*.bin\n_version.py\nbuild/\n/pkg/only_here.txt\n",
            ".aiinfraignore": "!keep.bin\n*.csv\n",
            "pkg/.gitignore": "/cache\n!wanted.bin\n",
            "pkg/inner/.aiinfraignore": "*\n!*.py\n!a.csv\nprivate.py\n",
            **{
                f"pkg/{name}": ""
                for name in (
                    "__init__.py",
                    "_version.py",
                    "big.bin",
                    "keep.bin",
                    "wanted.bin",
                    "only_here.txt",
                    "table.csv",
                    "build/made.py",
                    "build/made.txt",
                    "cache/x.txt",
                    "inner/__init__.py",
                    "inner/a.csv",
                    "inner/b.txt",
                    "inner/private.py",
                    "inner/only_here.txt",
                    "env/pyvenv.cfg",
                    "env/lib.py",
                )
            },
        },
    )
    assert _sources(project) == {
        "pkg/__init__.py",
        "pkg/_version.py",  # git ignores it, and it is imported like any other
        "pkg/build/made.py",
        "pkg/inner/__init__.py",
        "pkg/inner/a.csv",
        "pkg/keep.bin",
        "pkg/wanted.bin",
    }


def test_a_folder_that_ours_names_stays_here_with_its_modules(project: Path) -> None:
    write(project, {"pkg/__init__.py": "", "pkg/old/a.py": "", ".aiinfraignore": "old/\n"})
    assert _sources(project) == {"pkg/__init__.py"}


def test_rules_that_keep_out_the_package_itself_say_nothing_of_what_is_in_it(
    project: Path,
) -> None:
    (project / ".git").mkdir()
    write(project, {"pkg/__init__.py": "", "pkg/a.txt": "", ".gitignore": "*\n"})
    assert _sources(project) == {"pkg/__init__.py", "pkg/a.txt"}


def test_rules_that_cannot_be_read_are_named(project: Path) -> None:
    write(project, {"pkg/__init__.py": "", "pkg/.aiinfraignore": b"\xff"})
    with pytest.raises(UsageError, match=r"pkg/\.aiinfraignore cannot be read as ignore rules"):
        _sources(project)


def test_links_are_followed_inside_the_project_only(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    write(elsewhere, {"secret.txt": "s", "folder/x.txt": "x"})
    write(project, {"pkg/__init__.py": "", "shared/a.txt": "a", "pkg/sub/b.txt": "b"})
    for name, target in {
        "pkg/in": project / "shared",
        "pkg/round": project / "pkg",
        "pkg/out.txt": elsewhere / "secret.txt",
        "pkg/out": elsewhere / "folder",
        "pkg/broken": elsewhere / "gone",
        "pkg/ignored.txt": elsewhere / "secret.txt",
    }.items():
        (project / name).symlink_to(target)
    write(project, {".aiinfraignore": "ignored.txt"})
    capture = Notebook(project).capture("import pkg")
    assert set(capture.sources) == {"pkg/__init__.py", "pkg/in/a.txt", "pkg/sub/b.txt"}
    (item,) = (item for item in capture.manifest.items if item.name == "pkg")
    assert item.reason == (
        f"not sent: pkg/out (a link that leads out, to {elsewhere}/folder), "
        f"pkg/out.txt (a link that leads out, to {elsewhere}/secret.txt)"
    )


def test_a_package_that_is_too_big_names_its_largest_files(project: Path) -> None:
    write(project, {"pkg/__init__.py": "", "pkg/small.txt": "x"})
    with (project / "pkg/huge.bin").open("wb") as file:
        file.truncate((2 << 30) + 1)
    with pytest.raises(CaptureError) as caught:
        _sources(project)
    (item,) = caught.value.items
    assert "more than 2 GiB, the largest are pkg/huge.bin (2048 MiB)" in item.reason
    assert ".aiinfraignore" in item.reason
    write(project, {"pkg/.aiinfraignore": "*.bin"})
    assert _sources(project) == {"pkg/__init__.py", "pkg/small.txt"}


def test_an_editable_project_brings_its_metadata(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        project,
        {
            "site/mine-1.2.dist-info/direct_url.json": json.dumps(
                {"url": f"file://{project}/my%20code", "dir_info": {"editable": True}}
            ),
            "site/mine-1.2.dist-info/METADATA": "Name: mine\nVersion: 1.2\n",
            "site/mine-1.2.dist-info/RECORD": "",
            "site/other-1.dist-info/direct_url.json": "{",
            "site/third-1.dist-info/direct_url.json": json.dumps({"url": f"file://{project}"}),
            "my code/src/mine/__init__.py": "",
            "my code/src/mine/table.txt": "",
        },
    )
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(project / "site")])
    monkeypatch.syspath_prepend(str(project / "my code/src"))
    modules_module._editable_projects.cache_clear()
    try:
        assert _sources(project, "import mine") == {
            "mine/__init__.py",
            "mine/table.txt",
            "mine-1.2.dist-info/METADATA",
        }
    finally:
        modules_module._editable_projects.cache_clear()


def test_compiled_modules_are_refused(project: Path) -> None:
    suffix = EXTENSION_SUFFIXES[0]
    write(project, {f"fast{suffix}": b"", "pkg/__init__.py": "", f"pkg/_core{suffix}": b""})
    with pytest.raises(CaptureError) as caught:
        Notebook(project).capture("import fast, pkg")
    found = {item.name: item for item in caught.value.items}
    assert set(found) == {"fast", "pkg"}
    assert f"pkg/_core{suffix} is compiled" in found["pkg"].reason
    assert "--keep pkg" in found["pkg"].hint
    assert Notebook(project).capture("import fast, pkg", keep=["fast", "pkg"]).sources == {}


def test_a_folder_with_too_many_files_is_refused(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jupyter_aiinfra.capture.modules._FILES_LIMIT", 3)
    write(project, {f"big/m{number}.py": "" for number in range(5)})
    with pytest.raises(CaptureError, match="more than 3 files"):
        Notebook(project).capture("import big.m1")


@pytest.mark.parametrize(
    "module",
    ["json", "os.path", "sys", "torch", "numpy.random", "pytest", "no_such_module", "__main__"],
)
def test_what_is_installed_or_pythons_stays(module: str) -> None:
    assert LocalModules().add(module) is None


def test_an_installed_package_below_the_project_stays(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = project / ".venv/lib/python3/site-packages"
    write(place, {"installed_here.py": ""})
    monkeypatch.syspath_prepend(str(place))
    assert LocalModules().add("installed_here") is None


def test_a_module_of_the_standard_librarys_name_is_the_users_if_it_is_first(
    project: Path,
) -> None:
    write(project, {"statistics.py": "", "main.py": "import statistics"})
    found = LocalModules(search=[project]).add("statistics")
    assert found is not None
    assert found.place == project / "statistics.py"


def test_modules_made_by_hand_and_modules_not_yet_loaded_are_told_apart(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "by_hand", ModuleType("by_hand"))
    monkeypatch.delitem(sys.modules, "wave", raising=False)
    modules = LocalModules()
    assert modules.add("by_hand") is None
    assert modules.add("wave") is None


def test_submodules_of_a_namespace_package_are_imported(project: Path) -> None:
    write(project, {"spaces/inner.py": "x = 1"})
    notebook = Notebook(project).run("import spaces\nimport spaces.inner as _hidden")
    lines = notebook.capture("out = spaces.inner.x").context.splitlines()[2:]
    assert lines == ["import spaces", "import spaces.inner"]


def test_submodules_of_a_package_without_readable_text_are_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outer, inner = ModuleType("zipped"), ModuleType("zipped.inner")
    outer.__file__ = "/nowhere/all.zip/zipped/__init__.py"
    vars(outer)["inner"] = inner
    monkeypatch.setitem(sys.modules, "zipped.inner", inner)
    assert submodule_lines(outer, [("inner", "x"), ("other",)]) == {"import zipped.inner"}


def test_a_changed_file_is_read_again(project: Path) -> None:
    write(project, {"first.py": "import second", "second.py": "", "third.py": ""})
    assert _closure("first") == ["first", "second"]
    write(project, {"first.py": "import second, third"})
    assert _closure("first") == ["first", "second", "third"]


def _closure(name: str) -> list[str]:
    modules = LocalModules()
    modules.add(name)
    return [module.name for module in modules.found]


def test_a_broken_module_travels_as_it_is(project: Path) -> None:
    write(project, {"broken.py": "def f(:"})
    assert LocalModules().add("broken") is not None


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import a.b, c as d", {"a.b", "c"}),
        ("from a.b import c", {"a.b"}),
        ("from . import a", set()),
        ("from .a import b", set()),
        ("def f():\n    import a", {"a"}),
        ("importlib.import_module('a.b')\n__import__('c')", {"a.b", "c"}),
        ("importlib.import_module('.a', 'b')\n__import__(name)", set()),
    ],
)
def test_imports_are_found_anywhere(code: str, expected: set[str]) -> None:
    assert imported(ast.parse(code).body) == expected


# --- scripts -------------------------------------------------------------------------------------


def test_a_script_brings_its_neighbours(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "work/train.py": "import json\nimport model_of_mine\nprint(1)",
            "work/model_of_mine.py": "from layers_of_mine import x",
            "work/layers_of_mine/__init__.py": "x = 1",
        },
    )
    capture = capture_script(tmp_path / "work/train.py", root=tmp_path)
    assert capture.cell == "import json\nimport model_of_mine\nprint(1)"
    assert capture.context == ""
    assert capture.variables["variables"] == []
    assert set(capture.sources) == {"model_of_mine.py", "layers_of_mine/__init__.py"}
    assert [(item.name, item.how) for item in capture.manifest.items] == [
        ("layers_of_mine", "files of work/layers_of_mine (1)"),
        ("model_of_mine", "files of work/model_of_mine.py (1)"),
    ]
    assert capture.manifest.size_bytes == 5 + len("from layers_of_mine import x")
    assert "model_of_mine" not in sys.modules


def test_a_script_in_another_encoding_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"s.py": "# coding: latin-1\nx = 'ä'".encode("latin-1")})
    assert "ä" in capture_script(tmp_path / "s.py", root=tmp_path).cell


def test_a_script_that_is_not_there_or_not_python_is_told(tmp_path: Path) -> None:
    write(tmp_path, {"bad.py": "x = (", "binary.py": b"\xff\xfe\x00", "magic.py": "%time x"})
    with pytest.raises(UsageError, match=r"cannot read script .*none\.py"):
        capture_script(tmp_path / "none.py", root=tmp_path)
    with pytest.raises(UsageError, match="not Python text"):
        capture_script(tmp_path / "binary.py", root=tmp_path)
    with pytest.raises(CaptureError, match=r"bad\.py has a syntax error in line 1"):
        capture_script(tmp_path / "bad.py", root=tmp_path)
    with pytest.raises(CaptureError, match=r"magic\.py runs as a plain Python script"):
        capture_script(tmp_path / "magic.py", root=tmp_path)


def test_a_script_with_a_compiled_neighbour_is_refused(tmp_path: Path) -> None:
    write(tmp_path, {"s.py": "import fastest", f"fastest{EXTENSION_SUFFIXES[0]}": b""})
    with pytest.raises(CaptureError, match="fastest"):
        capture_script(tmp_path / "s.py", root=tmp_path)
