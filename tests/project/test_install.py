"""What is installed, in every way of installing, and the build of the compiled part."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
NVCC = shutil.which("nvcc")
SITE = Path(torch.__file__).parents[1]
# One CMake for all builds of this file, so that they share what they compile.
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
# What a user of the kernels does: one op of the extension, one of plain torch.
USE = """
import torch, vreid_fast, vreid_fast._C
from vreid_fast.kernels import EmaUpdater, combined_regression, gradient_reversal, kmeans, kmeans_assign, temporal_pool
x = torch.ones(3, requires_grad=True)
gradient_reversal(x, 0.5, backend="cpp").sum().backward()
assert x.grad.tolist() == [-0.5] * 3
assert kmeans(torch.eye(4), 2, restarts=1).labels.shape == (4,)
print(vreid_fast.__path__[0])
"""


def run(*command, **options):
    words = [str(word) for word in command]
    ran = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, **options)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("cwd", [ROOT, "/"], ids=["root", "elsewhere"])
def test_kernels_of_this_checkout_import(cwd):
    assert run(sys.executable, "-c", USE, cwd=cwd).strip() == str(ROOT / "vreid_fast")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The source distribution, unpacked: what it forgets to carry fails to build here."""
    folder = tmp_path_factory.mktemp("source")
    run(sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", folder, ROOT)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    run(*pip, "--wheel-dir", folder, source)
    return next(folder.glob("vreid_fast-*.whl"))


@pytest.mark.slow
def test_wheel_holds_the_packages_the_data_and_one_binary(wheel):
    with zipfile.ZipFile(wheel) as packed:
        names = [name for name in packed.namelist() if ".dist-info/" not in name]
        metadata = packed.read(next(n for n in packed.namelist() if n.endswith("/METADATA"))).decode()
    assert {name.split("/")[0] for name in names} == {"vreid_fast"}
    sources = [path.relative_to(ROOT) for path in (ROOT / "vreid_fast").rglob("*.*")]
    shipped = (".py", ".typed", ".html", ".css", ".yaml")
    expected = {str(path) for path in sources if path.suffix in shipped}
    expected |= {f"vreid_fast/kernels/{path.name}" for path in (ROOT / "kernels").glob("*.py")}
    binaries = {name for name in names if name.startswith("vreid_fast/_C.")}
    assert len(binaries) == 1
    assert set(names) - binaries == expected
    required = [line for line in metadata.splitlines() if line.startswith("Requires-Dist") and "extra" not in line]
    assert required == ["Requires-Dist: torch>=2.11"]


@pytest.mark.slow
def test_wheel_needs_torch_alone(wheel, tmp_path):
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", tmp_path / "target"]
    run(*pip, wheel)
    only_torch = tmp_path / "only_torch"
    only_torch.mkdir()
    for name in top_level_names("torch", set()):
        (only_torch / name).symlink_to(SITE / name)
    assert not (only_torch / "sklearn").exists() and not (only_torch / "matplotlib").exists()
    code = f"import sys; sys.path += [{str(tmp_path / 'target')!r}, {str(only_torch)!r}]\n{USE}"
    out = run(sys.executable, "-I", "-S", "-W", "ignore", "-c", code, cwd="/")
    assert out.strip() == str(tmp_path / "target" / "vreid_fast")


def top_level_names(distribution: str, seen: set[str]) -> set[str]:
    """Files and folders in site-packages of a distribution and of all that it requires."""
    if distribution in seen:
        return set()
    seen.add(distribution)
    found = importlib.metadata.distribution(distribution)
    names = {file.parts[0] for file in found.files if file.parts[0] not in ("..", "__pycache__")}
    for line in found.requires or []:
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            names |= top_level_names(requirement.name, seen)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("way", ["lenient", "strict", "compat", "wheel"])
def test_every_way_of_installing(way, source, wheel, tmp_path):
    """In a virtual environment of its own that sees torch through a path file."""
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path)
    python = tmp_path / "bin" / "python"
    site = next((tmp_path / "lib").glob("python*")) / "site-packages"
    (site / "torch_of_the_tests.pth").write_text(f"{SITE}\n")
    what = [wheel] if way == "wheel" else [f"--config-settings=editable_mode={way}", "-e", source]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-build-isolation"]
    run(*pip, "--no-deps", *what)
    for cwd in (source, "/"):
        out = run(python, "-c", USE, cwd=cwd).strip()
        assert Path(out).is_relative_to(site if way == "wheel" and cwd == "/" else source)


@pytest.mark.slow
def test_a_wheel_without_compiled_ops_is_of_any_machine(source, tmp_path):
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-build-isolation",
        "--no-deps",
        "--wheel-dir",
        tmp_path,
    ]
    words = list(map(str, [*pip, source]))
    environment = ENVIRONMENT | {"VREID_FAST_WITHOUT_EXTENSION": "1"}
    ran = subprocess.run(words, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    (built,) = tmp_path.glob("vreid_fast-*.whl")
    assert built.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(built) as packed:
        assert not [name for name in packed.namelist() if "_C" in name and name.endswith(".so")]


def test_a_build_that_sees_no_torch_ends_with_what_to_do():
    """As in an isolated build of pip, before CMake says anything."""
    code = """
import importlib.util as util, sys
plain = util.find_spec
util.find_spec = lambda name, *words: None if name == "torch" else plain(name, *words)
sys.argv = ["setup.py", "bdist_wheel"]
exec(open("setup.py").read(), {"__file__": "setup.py", "__name__": "__main__"})
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    lines = ran.stderr.splitlines()
    assert ran.returncode == 1 and len(lines) == 3 and ran.stdout == ""
    assert "no torch is visible to this build" in lines[0]
    assert "pip install --no-build-isolation ." in lines[1] and "VREID_FAST_WITHOUT_EXTENSION=1" in lines[2]


def test_build_without_a_compiler_fails_and_says_so(tmp_path):
    command = ["cmake", "-S", ROOT, "-B", tmp_path, "-G", "Ninja", f"-DPython_EXECUTABLE={sys.executable}"]
    ran = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT | {"CXX": "/no/compiler"})
    assert ran.returncode != 0
    assert "/no/compiler" in ran.stderr


@pytest.mark.skipif(NVCC is None, reason="needs nvcc; none on the PATH")
@pytest.mark.parametrize("architecture", [80, 90, 100])
@pytest.mark.parametrize("path", sorted((ROOT / "csrc").glob("*.cu")), ids=lambda path: path.name)
def test_cuda_source_compiles_without_torch_and_without_spills(path, architecture, tmp_path):
    target = f"arch=compute_{architecture},code=sm_{architecture}"
    command = [NVCC, "-std=c++17", "-O3", "-gencode", target, "-Xptxas", "-v", "-c", path, "-o", tmp_path / "a.o"]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    kernels = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", ran.stderr)
    assert kernels, ran.stderr
    assert all(kernel == ("0", "0", "0") for kernel in kernels), ran.stderr
