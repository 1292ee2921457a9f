"""The house keeps its order: imports point one way, and checking a file loads nothing heavy."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = [
    "source",
    "diagnostics",
    "syntax",
    "ir",
    "ops",
    "elaborate",
    "passes",
    "backends",
    "compiler",
    "nets",
    "inventory",
    "train",
    "cli",
]
MODULES = sorted((ROOT / "netdsl").rglob("*.py"))


def room_of(module: str) -> str:
    return module.split(".")[1] if module.count(".") else ""


def imports(path: Path) -> list[str]:
    """The netdsl modules that a file imports, wherever in it."""
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("netdsl."):
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.startswith("netdsl.")]
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    own = path.relative_to(ROOT / "netdsl").parts[0].removesuffix(".py")
    if own not in ROOMS:
        return  # the facade and `python -m netdsl` see everything
    for module in imports(path):
        room = room_of(module)
        assert ROOMS.index(room) <= ROOMS.index(own), f"{own} imports {module}"


def test_syntax_and_ir_do_not_know_each_other() -> None:
    for path in MODULES:
        parts = path.relative_to(ROOT / "netdsl").parts
        if parts[0] == "ir":
            assert not any(room_of(m) == "syntax" for m in imports(path)), path


def test_every_room_has_its_place_in_the_order() -> None:
    rooms = {p.relative_to(ROOT / "netdsl").parts[0].removesuffix(".py") for p in MODULES}
    assert rooms - {"__init__", "__main__"} == set(ROOMS)


def loaded_by(code: str) -> set[str]:
    """The top-level packages that a fresh interpreter has loaded after `code`."""
    script = f"import sys\n{code}\nprint(*sorted({{m.partition('.')[0] for m in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    ["import netdsl", "import netdsl, glob; [netdsl.check(path) for path in glob.glob('specs/*.net')]"],
    ids=["import", "check"],
)
def test_checking_loads_no_heavy_library(code: str) -> None:
    heavy = {
        "torch",
        "torchvision",
        "onnx",
        "onnxruntime",
        "networkx",
        "numpy",
        "graphviz",
        "pygraphviz",
        "lightning",
    }
    assert loaded_by(code) & heavy == set()


def test_the_catalogue_names_what_the_modules_register() -> None:
    """Which module has which operation is read off their text; importing them all must give the same."""
    code = (
        "import importlib, pkgutil, netdsl.ops\n"
        "from netdsl.ops.base import initialisers, registry\n"
        "named = [set(registry), set(initialisers)]\n"
        "for m in pkgutil.iter_modules(netdsl.ops.__path__): importlib.import_module('netdsl.ops.' + m.name)\n"
        "assert [set(registry._loaded), set(initialisers._loaded)] == named\n"
        "assert len(named[0]) > 250\n"
    )
    assert "netdsl" in loaded_by(code)


def test_checking_a_model_imports_only_the_operations_it_uses() -> None:
    code = "import netdsl; netdsl.check('specs/lenet.net'); assert 'netdsl.ops.recurrent' not in sys.modules"
    assert "netdsl" in loaded_by(code)
