"""The repository's own rules: file and function sizes, purity, documentation, no traces of a particular machine."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "podwire"
PURE_ROOMS = ("base", "kube", "plan", "snapshot", "compile", "explain")
PURE_FILES = ("render", "machine")
SOFT_LINES, HARD_LINES, FUNCTION_LINES = 600, 1000, 80
FORBIDDEN_ROOMS = {"utils", "common", "helpers", "controllers", "misc"}


def python_files() -> list[Path]:
    return sorted(p for folder in ("src", "tests", "bench", "examples") for p in (ROOT / folder).rglob("*.py"))


def pure_files() -> list[Path]:
    rooms = [p for room in PURE_ROOMS for p in (SOURCE / room).rglob("*.py")]
    renders = [p for p in (SOURCE / "planes").rglob("*.py") if p.stem.split("_")[0] in PURE_FILES]
    return sorted(rooms + renders)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_rooms_have_the_names_of_the_design() -> None:
    rooms = {p.name for p in SOURCE.iterdir() if p.is_dir() and p.name != "__pycache__"}
    assert not rooms & FORBIDDEN_ROOMS
    assert rooms <= {
        "apiserver", "base", "cli", "client", "cluster", "compile", "engine", "explain", "kube", "node", "plan",
        "planes", "snapshot", "testing", "web",
    }  # fmt: skip


@pytest.mark.parametrize("path", python_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_small(path: Path) -> None:
    text = path.read_text()
    tree = ast.parse(text)
    lines = text.count("\n")
    assert lines <= HARD_LINES
    if lines > SOFT_LINES:
        assert "lines because" in (ast.get_docstring(tree) or ""), "over 600 lines: give the reason in the docstring"
    long = [f.name for f in functions(tree) if (f.end_lineno or 0) - f.lineno + 1 > FUNCTION_LINES]
    assert not long


@pytest.mark.parametrize("path", pure_files(), ids=lambda p: str(p.relative_to(ROOT)))
def test_pure_files_have_no_clock_no_io_no_state(path: Path) -> None:
    tree = ast.parse(path.read_text())
    found = [*_impure_calls(tree), *_mutable_globals(tree), *_impure_imports(tree)]
    assert not found


def _impure_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        if name in ("open", "print", "input") or name.endswith((".now", ".utcnow", ".today")):
            yield f"line {node.lineno}: {name}()"


def _mutable_globals(tree: ast.Module) -> Iterator[str]:
    """A module-level container that some function of the module changes."""
    names = {
        target.id: node.lineno
        for node in tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List | ast.Dict | ast.Set)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name)
    }
    changers = {"append", "add", "update", "pop", "clear", "extend", "remove", "setdefault", "insert", "discard"}
    for node in ast.walk(tree):
        match node:
            case ast.Global():
                yield f"line {node.lineno}: global"
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if name in names and attr in changers:
                yield f"line {node.lineno}: {name}.{attr}() changes module state"


IMPURE = {
    "asyncio", "logging", "os", "pathlib", "random", "secrets", "socket", "subprocess", "threading", "time", "uuid",
}  # fmt: skip


def _impure_imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (f"line {node.lineno}: {n.name}" for n in names if n.name.split(".")[0] in IMPURE)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in IMPURE:
                yield f"line {node.lineno}: {module}"


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_public_things_are_documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "module docstring"
    bare = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not bare


def test_no_sleep_in_tests() -> None:
    call = re.compile(r"\b(?:time|asyncio)\.sleep\((?!0\))")
    found = [
        f"{path.name}:{number}"
        for path in (ROOT / "tests").rglob("*.py")
        for number, line in enumerate(path.read_text().split("\n"), 1)
        if call.search(line)
    ]
    assert not found


def test_nothing_names_a_particular_machine() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    suspicious = re.compile(r"/work/|/tmp/bash|index-url|\bsubagent\b|\bhelper-\d", re.IGNORECASE)
    found = [
        f"{name}:{number}"
        for name in tracked
        if not name.endswith((".lock", "test_structure.py")) and (ROOT / name).is_file()
        for number, line in enumerate((ROOT / name).read_text(errors="replace").split("\n"), 1)
        if suspicious.search(line)
    ]
    assert not found


def test_the_command_line_starts_cheaply() -> None:
    """A budget of modules, not of time: the start path must not pull in what only some commands need."""
    code = "import sys; import podwire.cli; print('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"aiohttp", "grpc", "google.protobuf", "cryptography", "yaml", "asyncio", "sqlite3"} & set(loaded)


def test_every_finding_code_is_documented() -> None:
    documented = set(re.findall(r"PW\d{4}", (ROOT / "docs" / "reference" / "findings.md").read_text()))
    used = {code for path in SOURCE.rglob("*.py") for code in re.findall(r'"(PW\d{4})"', path.read_text())}
    assert used <= documented, sorted(used - documented)


def test_proofs_named_in_the_documentation_exist() -> None:
    """``tests/x/test_y.py::test_z`` and ``tests/cases/x/y`` of a page name what is there."""
    named = {
        (page.name, proof)
        for page in (ROOT / "docs").rglob("*.md")
        for proof in re.findall(r"`(tests/[\w/-]+\.py(?:::\w+)?|tests/cases/[\w/-]+)", page.read_text())
    }
    assert len(named) >= 5
    assert not [one for one in sorted(named) if not _is_there(one[1])]


def _is_there(proof: str) -> bool:
    file, _, function = proof.partition("::")
    path = ROOT / file
    return path.exists() and (not function or f"def {function}(" in path.read_text())


def test_generated_reference_pages_are_current() -> None:
    from podwire.cli.reference import pages

    folder = ROOT / "docs" / "reference"
    stale = [name for name, text in pages().items() if (folder / name).read_text() != text]
    assert not stale, "run: make docs"
