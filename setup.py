"""Packages and requirements. What is compiled, and how, is in CMakeLists.txt, which this calls."""

import importlib.util
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
PURE = os.environ.get("VREID_FAST_WITHOUT_EXTENSION", "") not in ("", "0")
NO_TORCH = """\
vreid-fast: its C++ and CUDA ops are compiled against your torch, and no torch is visible to this build.
With torch installed:  pip install --no-build-isolation .   (before it: pip install cmake ninja pybind11 setuptools)
Without the compiled ops, on Triton and plain torch:  VREID_FAST_WITHOUT_EXTENSION=1 pip install ."""

EXTRAS = {
    "train": [
        *["numpy", "pillow", "simplejpeg", "scikit-learn", "scipy", "threadpoolctl"],
        *["docstring-parser", "tqdm", "tensorboard", "matplotlib", "jinja2", "av>=17", "h5py", "pyyaml", "safetensors"],
    ],
    "gpu": [
        "nvidia-dali-cuda130>=2.4,<3; sys_platform == 'linux' and platform_machine == 'x86_64'",
        "triton>=3.6; sys_platform == 'linux'",
    ],
    "track": ["onnxruntime", "trackers>=2.6"],
    "search": ["faiss-cpu"],
    "export": ["onnx", "onnxscript", "onnxruntime"],
    "parquet": ["pyarrow"],
}
"""What each extra brings; `vreid_fast/extras.py` names them to users."""


class CMakeBuild(build_ext):
    """Runs CMake with Ninja; a missing compiler or pybind11 fails the build with CMake's message."""

    def build_extension(self, extension):
        target = Path(self.get_ext_fullpath(extension.name)).resolve()
        build = ROOT / "build" / f"cmake-{sysconfig.get_config_var('SOABI')}"
        # cmake and ninja may be installed beside an interpreter whose scripts are not on the PATH.
        environment = os.environ | {"PATH": os.pathsep.join([sysconfig.get_path("scripts"), os.environ["PATH"]])}
        configure = ["cmake", "-S", ROOT, "-B", build, "-G", "Ninja", f"-DPython_EXECUTABLE={sys.executable}"]
        configure.append(f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={target.parent}")
        subprocess.run(configure, check=True, env=environment)
        subprocess.run(["cmake", "--build", build], check=True, env=environment)


# Before CMake would say the same in the middle of two hundred lines.
if (
    not PURE
    and importlib.util.find_spec("torch") is None
    and {"bdist_wheel", "editable_wheel", "build_ext"} & {*sys.argv}
):
    sys.exit(NO_TORCH)

setup(
    name="vreid-fast",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "vreid_fast" / "__init__.py").read_text()).group(1),
    description="Video person re-identification from synthetic to real cameras, fast",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=[*find_packages(include=["vreid_fast", "vreid_fast.*"]), "vreid_fast.kernels"],
    package_dir={"vreid_fast.kernels": "kernels"},
    package_data={
        "vreid_fast": ["py.typed"],
        "vreid_fast.config": ["presets/*.yaml"],
        "vreid_fast.ladder": ["*.yaml"],
        "vreid_fast.report": ["*.html", "*.css"],
        "vreid_fast.search": ["*.html"],
    },
    ext_modules=[] if PURE else [Extension("vreid_fast._C", sources=[])],
    cmdclass={"build_ext": CMakeBuild},
    install_requires=["torch>=2.11"],
    extras_require={
        **EXTRAS,
        "all": sorted({requirement for extra in EXTRAS.values() for requirement in extra}),
        # psutil: fast-pytorch-kmeans imports it without requiring it. opencv-python: as trackers has it, for the
        # headless one would be a second module cv2.
        "bench": ["flash-kmeans==0.3.1", "fast-pytorch-kmeans==0.2.2", "psutil", "opencv-python", "decord"],
        "dev": [
            *["pytest", "pytest-timeout", "pytest-xdist", "build", "wheel", "webdataset", "qdrant-client"],
            *["ruff", "mypy", "types-pyyaml", "clang-format"],
            *["ninja", "cmake", "pybind11", "setuptools>=77"],
        ],
    },
)
