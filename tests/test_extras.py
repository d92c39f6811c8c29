"""Packages of extras: what is imported is declared, and one that is missing is named in a line."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from vreid_fast.errors import exit_code
from vreid_fast.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
TORCH_ALONE = {"torch", "vreid_fast"}


def declared():
    """Extra -> names of the packages it brings, from setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    assigned = [node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXTRAS"]
    found = eval(ast.unparse(assigned[0].value))  # stars in lists are no literals
    return {extra: {canonical(Requirement(line).name) for line in lines} for extra, lines in found.items()}


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def imported():
    """Third-party modules that the package imports anywhere."""
    found = set()
    for folder in ("vreid_fast", "kernels"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    found |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    found.add(node.module.partition(".")[0])
    return found - set(sys.stdlib_module_names) - TORCH_ALONE


def test_every_import_has_an_extra():
    assert imported() - {"triton"} <= set(EXTRAS)


@pytest.mark.parametrize("module", sorted(set(EXTRAS) - {"nvidia"}))
def test_its_extra_brings_it(module):
    brought = {canonical(name) for name in packages_distributions().get(module, ())}
    assert brought, f"{module} is not installed"
    extras = declared()
    assert brought & extras[EXTRAS[module]] or module == "supervision"  # which trackers requires


def test_all_is_all():
    text = (ROOT / "setup.py").read_text()
    assert '"all": sorted({requirement for extra in EXTRAS.values() for requirement in extra})' in text


def test_a_missing_package_is_one_line(capsys):
    def work():
        raise ModuleNotFoundError("No module named 'h5py'", name="h5py._hl")

    assert exit_code(work) == 2
    assert capsys.readouterr().err == "error: h5py is not installed; pip install 'vreid-fast[train]' brings it\n"


def test_another_missing_module_is_a_bug_and_keeps_its_traceback():
    def work():
        raise ModuleNotFoundError("No module named 'vreid_fast.nothing'", name="vreid_fast.nothing")

    with pytest.raises(ModuleNotFoundError, match="nothing"):
        exit_code(work)


@pytest.mark.parametrize("command", ["train", "evaluate", "extract", "export", "search", "data", "ladder"])
def test_commands_without_any_extra(command, tmp_path):
    """As `pip install vreid-fast` leaves it."""
    (tmp_path / "yaml.py").write_text("raise ModuleNotFoundError(\"No module named 'yaml'\", name='yaml')")
    code = (
        "import importlib.util, sys; plain = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *w: None if name == 'yaml' else plain(name, *w);"
        "sys.argv, sys.orig_argv = ['-m'], ['python', '-m', 'vreid_fast." + command + "'];"
        "import vreid_fast"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    wanted = "error: yaml is not installed; pip install 'vreid-fast[train]' brings it\n"
    assert (ran.returncode, ran.stdout, ran.stderr) == (2, "", wanted)
