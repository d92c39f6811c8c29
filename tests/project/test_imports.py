"""Who may import whom, read from the source, and what `import vreid_fast` costs."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Lowest first; a module imports from its own layer and the ones below.
LAYERS = (
    {"errors", "extras", "files", "rights", "interrupt", "terminal", "environment", "ranks", "device"},
    {"kernels"},
    {"config", "data", "models", "losses", "metrics"},
    {"report"},
    {"evaluation"},
    {"training"},
    {"extraction"},
    {"train", "evaluate", "extract", "export", "search", "ladder"},
)
PROGRAMS = {"vreid_fast.train", "vreid_fast.evaluate", "vreid_fast.extract", "vreid_fast.export", "vreid_fast.ladder"}
# What only the named places may import; inside them and nowhere else.
ONLY_IN = {
    "nvidia": {"vreid_fast.data.reading.dali"},
    "scipy": {"vreid_fast.losses", "vreid_fast.metrics.rerank", "vreid_fast.ladder.differences"},
    "sklearn": {"vreid_fast.report.feature_map"},
    "triton": {"vreid_fast.kernels"},
    "vreid_fast._C": {"vreid_fast.kernels"},
    "vreid_fast.config": {"vreid_fast.config", "vreid_fast.training", *PROGRAMS},
    "vreid_fast.config.Config": {
        "vreid_fast.config",
        "vreid_fast.training.build",
        "vreid_fast.training.methods",
        "vreid_fast.training.network_checks",
        "vreid_fast.training.rank_checks",
        *PROGRAMS,
    },
    "vreid_fast.config.knobs.Config": {"vreid_fast.config"},
    "vreid_fast.data.reading.dali": {"vreid_fast.data.reading.make_decoder"},
}
# Imported inside functions only, so that `--help` and `import` stay quick.
HEAVY = ("av", "faiss", "h5py", "jinja2", "matplotlib", "onnx", "onnxruntime", "scipy", "sklearn")


def modules():
    """Dotted name -> file of every module that is installed."""
    for folder, package in (("kernels", "vreid_fast.kernels"), ("vreid_fast", "vreid_fast")):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join((package, *parts)).removesuffix(".__init__"), path


MODULES = dict(modules())
SOURCES = {name: path.read_text() for name, path in MODULES.items()}


def imports(name: str, source: str):
    """(dotted name imported, whether at module level) of every import statement of a module, wherever it stands."""
    tree = ast.parse(source)
    package = name if MODULES[name].name == "__init__.py" else name.rpartition(".")[0]
    at_top = {id(node) for node in tree.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, id(node) in at_top
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                yield f"{module}.{alias.name}", id(node) in at_top


def arrows(sources: dict[str, str]) -> dict[str, set[str]]:
    """Modules of the package that each module imports from, in functions and for type checkers too."""
    found = {}
    for name, source in sources.items():
        imported = {one for one, _ in imports(name, source)}
        found[name] = {one if one in sources else one.rpartition(".")[0] for one in imported} & sources.keys() - {name}
    return found


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Names of a path that ends where it began, or an empty list where there is none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name not in done:
            for after in sorted(graph[name]):
                if found := walk(after, [*path, name]):
                    return found
            done.add(name)
        return []

    return next((found for name in graph if (found := walk(name, []))), [])


def layer(name: str) -> int:
    part = name.split(".")[1]
    return next(number for number, names in enumerate(LAYERS) if part in names)


def inside(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


def test_this_test_sees_the_modules():
    assert {"vreid_fast", "vreid_fast.kernels.ema", "vreid_fast.data.reading.dali", "vreid_fast.train"} <= set(MODULES)
    found = dict(imports("vreid_fast.kernels.ema", SOURCES["vreid_fast.kernels.ema"]))
    assert found["vreid_fast.kernels.backends.choose"] and found["torch.Tensor"]


def test_the_top_of_the_package_holds_the_programs_and_little_else():
    found = {path.stem for path in (ROOT / "vreid_fast").glob("*.py")}
    assert found == {
        "__init__",
        "train",
        "evaluate",
        "extract",
        "export",
        "device",
        "environment",
        "errors",
        "extras",
        "files",
        "interrupt",
        "rights",
        "terminal",
    }


def test_no_two_files_import_each_other():
    assert circle(arrows(SOURCES)) == []


@pytest.mark.parametrize(
    "line",
    [
        "from vreid_fast.training.session import Session",
        "def later():\n    from vreid_fast.training import session",
        "if TYPE_CHECKING:\n    import vreid_fast.training.session",
    ],
)
def test_a_circle_is_seen_wherever_it_is_hidden(line):
    changed = {**SOURCES, "vreid_fast.errors": f"{SOURCES['vreid_fast.errors']}\n{line}\n"}
    found = circle(arrows(changed))
    assert found[0] == found[-1] and {"vreid_fast.errors", "vreid_fast.training.session"} <= set(found)


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down_the_layers(name):
    for imported, at_top in imports(name, SOURCES[name]):
        if inside(imported, "vreid_fast") and name != "vreid_fast" and imported != "vreid_fast.__version__":
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
    for imported, _ in imports(name, SOURCES[name]):
        own = inside(imported, "vreid_fast.kernels") or inside(imported, "vreid_fast._C")
        assert own or imported.split(".")[0] in allowed, f"{name} must not import {imported}"
    assert not re.search("(from|import) vreid_fast", SOURCES[name]), "imports must be relative"


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


def test_nothing_can_leave_the_machine():
    """docs/peoples-data.md says so: no module of the package speaks to another machine, or loads what does."""
    speaks = ("urllib.request", "http", "ftplib", "smtplib", "ssl", "requests", "httpx", "aiohttp", "urllib3")
    downloads = ("torch.hub", "huggingface_hub", "load_state_dict_from_url", "create_connection", ".connect(")
    found = [
        (name, imported)
        for name, source in SOURCES.items()
        for imported, _ in imports(name, source)
        if f"{imported}.".startswith(tuple(f"{module}." for module in speaks))
    ]
    found += [(name, word) for name, source in SOURCES.items() for word in downloads if word in source]
    assert found == []
