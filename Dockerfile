# docs/install.md says how to build and run it.
FROM python:3.12-slim

RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*

# torch goes before the code, so that a change of code does not fetch it again.
ARG PIP_EXTRA_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /opt/vreid-fast
COPY constraints.txt .
RUN pip install -c constraints.txt torch setuptools wheel cmake ninja pybind11
COPY setup.py pyproject.toml CMakeLists.txt MANIFEST.in LICENSE README.md ./
COPY csrc csrc
COPY kernels kernels
COPY vreid_fast vreid_fast
RUN pip install -c constraints.txt --no-build-isolation ".[all]"

# Waiting threads sleep, as in the Makefile. Whoever runs it may have no home here.
ENV OMP_WAIT_POLICY=PASSIVE HOME=/tmp
WORKDIR /data
ENTRYPOINT ["python", "-m"]
