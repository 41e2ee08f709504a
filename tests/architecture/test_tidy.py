"""Lints as tests: rules of the house that no linter has."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("wire", "gateway", "terminal", "simulators")
MODULES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60

# Only these read the clock or randomness; everybody else is handed time, ids and entropy.
COMPOSITION_ROOTS = {"gateway/cli.py", "terminal/daemon.py", "simulators/cli.py"}
CLOCKS_AND_RANDOMNESS = re.compile(
    r"time\.(time|time_ns)|datetime\.(now|today|utcnow)|date\.today|os\.urandom|uuid\.uuid[14]"
    r"|secrets\.\w+|random\.(random|randint|randbytes|choice|shuffle|getrandbits|SystemRandom)"
)
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc", "base_utils", "tools"}


def _relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.fixture(scope="module", params=MODULES, ids=_relative)
def module(request: pytest.FixtureRequest) -> tuple[Path, ast.Module]:
    path: Path = request.param
    return path, ast.parse(path.read_text(encoding="utf-8"))


def test_module_says_what_it_is(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    assert ast.get_docstring(tree), f"{_relative(path)} has no docstring"


def test_module_has_a_name_of_the_domain(module: tuple[Path, ast.Module]) -> None:
    path, _ = module
    assert path.stem not in VAGUE_NAMES
    assert path.parent.name not in VAGUE_NAMES


def test_module_and_its_functions_are_short(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MODULE_LINES_MAX
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = [
        f"{_relative(path)}:{function.lineno} {function.name}"
        for function in functions
        if (function.end_lineno or 0) - function.lineno >= FUNCTION_LINES_MAX
    ]
    assert not long


def test_public_functions_are_documented(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    bare = [
        f"{_relative(path)}:{node.lineno} {node.name}"
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not bare


def test_only_composition_roots_read_the_clock_or_randomness(module: tuple[Path, ast.Module]) -> None:
    path, tree = module
    if _relative(path) in COMPOSITION_ROOTS:
        return
    calls = [
        f"{_relative(path)}:{node.lineno} {ast.unparse(node.func)}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and CLOCKS_AND_RANDOMNESS.fullmatch(ast.unparse(node.func))
    ]
    assert not calls


def test_nothing_is_mocked_in_the_product(module: tuple[Path, ast.Module]) -> None:
    _, tree = module
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    assert "mock" not in imported
    assert "MagicMock" not in imported


def test_lock_files_carry_hashes_and_no_index_address() -> None:
    for name in ("requirements.lock", "requirements-pcsc.lock", "requirements-wedge.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text, name
        requirements = re.findall(r"^[a-z0-9].*==.*$", text, re.MULTILINE | re.IGNORECASE)
        assert requirements
        assert all(requirement.rstrip().endswith("\\") for requirement in requirements), name
