"""Who may import whom, read from the source, and what `import vreid_fast` costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# Lowest first; a module imports from its own layer and the ones below. Modules of vreid_fast that are not
# named here are parts of the programs, and belong to the layer of train and evaluate.
LAYERS = (
    {"errors"},
    {"kernels"},
    {"data", "models", "losses", "metrics"},
    {"teacher", "checkpoint", "report"},
)
TOP = len(LAYERS)
# Packages that only the named places may import.
ONLY_IN = {
    "nvidia": {"vreid_fast.data.dali"},
    "sklearn": {"vreid_fast.report.feature_map"},
    "triton": {"vreid_fast.kernels"},
    "vreid_fast._C": {"vreid_fast.kernels"},
    "vreid_fast.config": {f"vreid_fast.{name}" for name in ("train", "steps", "evaluate", "networks", "ladder")},
    "vreid_fast.knobs": {"vreid_fast.config"},
}
# Imported inside functions only, so that `--help` and `import` stay quick.
HEAVY = ("av", "h5py", "jinja2", "jsonargparse", "matplotlib", "scipy", "sklearn")


def modules():
    """Dotted name -> file of every module that is installed."""
    for folder, package in (("kernels", "vreid_fast.kernels"), ("vreid_fast", "vreid_fast")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__"), path


def imports(name: str, path: Path):
    """(dotted name imported, whether at module level) of every import statement of a module."""
    tree = ast.parse(path.read_text())
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    at_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in at_top
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            source = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{source}.{alias.name}", id(node) in at_top


def layer(name: str) -> int:
    part = name.split(".")[1]
    return next((i for i, names in enumerate(LAYERS) if part in names), TOP)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


MODULES = dict(modules())


def test_this_test_sees_the_modules():
    assert {"vreid_fast", "vreid_fast.kernels.ema", "vreid_fast.data.dali", "vreid_fast.train"} <= set(MODULES)
    found = dict(imports("vreid_fast.kernels.ema", MODULES["vreid_fast.kernels.ema"]))
    assert found["vreid_fast.kernels.backends.choose"] and found["torch.Tensor"]


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_the_layers(name):
    for imported, at_top in imports(name, MODULES[name]):
        if inside(imported, "vreid_fast") and name != "vreid_fast" and imported.count("."):
            assert layer(imported) <= layer(name), f"{name} must not import {imported}: it is above"
        for package, homes in ONLY_IN.items():
            if inside(imported, package):
                assert any(inside(name, home) for home in homes), f"{name} must not import {imported}"
        if imported.split(".")[0] in HEAVY:
            assert not at_top, f"{name} must import {imported} inside the function that needs it"
        assert imported.split(".")[0] not in ("tests", "benchmarks", "cases"), f"{name} imports {imported}"


@pytest.mark.parametrize("name", [name for name in MODULES if inside(name, "vreid_fast.kernels")])
def test_kernels_know_torch_and_themselves_only(name):
    allowed = {*sys.stdlib_module_names, "torch", "triton"}
    for imported, _ in imports(name, MODULES[name]):
        own = inside(imported, "vreid_fast.kernels") or inside(imported, "vreid_fast._C")
        assert own or imported.split(".")[0] in allowed, f"{name} must not import {imported}"
    source = MODULES[name].read_text()
    assert "from vreid_fast" not in source and "import vreid_fast" not in source, "imports must be relative"


def test_cuda_sources_include_no_torch_header():
    for path in (ROOT / "csrc").glob("*.cu"):
        own = (ROOT / "csrc" / f"{path.stem}.h").read_text()
        for word in ("torch/", "ATen/", "c10/", "pybind11/"):
            assert word not in path.read_text() + own, f"{path.name} must not include {word}"


@pytest.mark.parametrize("package", ["vreid_fast", "vreid_fast.kernels"])
def test_import_costs_torch_and_nothing_else(package):
    code = f"""
import sys, torch
flags = torch.get_default_dtype(), torch.is_grad_enabled(), torch.backends.cudnn.benchmark, torch.get_num_threads()
before, state = set(sys.modules), torch.random.get_rng_state()
import {package}
added = {{name.split(".")[0] for name in set(sys.modules) - before}} - set(sys.stdlib_module_names)
assert added == {{"vreid_fast"}}, added
assert torch.equal(state, torch.random.get_rng_state())
assert flags == (torch.get_default_dtype(), torch.is_grad_enabled(), torch.backends.cudnn.benchmark,
                 torch.get_num_threads())
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
