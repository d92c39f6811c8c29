# make train   the main job: synthetic people to another camera style, on two CPU cores in minutes
# make test    all tests
# make bench   throughput of every op, appended to benchmarks/results
# make lint    what CI checks beside the tests
# make versions  tests of the ops with the oldest and the newest torch of the range in setup.py
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# Several tests run at once, so waiting OpenMP threads sleep instead of spinning.
test: export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: train test bench lint versions
train: .venv/installed
	$(BIN)/python -m vreid_fast.train $(ARGS)

test: .venv/installed
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

bench: .venv/installed
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[bench]"
	$(BIN)/python benchmarks/run_all.py $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p vreid_fast.config -p vreid_fast.training -p vreid_fast.evaluation
	$(BIN)/mypy kernels
	$(BIN)/clang-format --dry-run -Werror csrc/*.h csrc/*.cpp csrc/*.cu

versions:
	PYTHON=$(PYTHON) .ci/versions

# torch first: the extension is compiled against the torch that is installed.
.venv/installed: setup.py pyproject.toml constraints.txt CMakeLists.txt $(wildcard csrc/*)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "vreid-fast needs Python 3.11 or later, $(PYTHON) is older: make PYTHON=python3.12"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt torch setuptools wheel cmake ninja pybind11
	$(BIN)/pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[all,dev]"
	touch $@
