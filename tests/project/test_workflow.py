"""Files that hosts and readers of the repository take: the workflow, the form for bugs, the citation."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

import vreid_fast

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = ROOT / ".github" / "workflows" / "ci.yml"


def read(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text())


@pytest.fixture
def job():
    return yaml.safe_load(WORKFLOW.read_text())["jobs"]["check"]


def test_workflow_runs_what_a_change_must_pass(job):
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML 1.1 reads the word "on" as true
    assert workflow["permissions"] == {"contents": "read"}
    assert [step["run"] for step in job["steps"] if "run" in step] == [".ci/run"]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.13"]
    python = next(step for step in job["steps"] if "setup-python" in step.get("uses", ""))
    assert python["with"]["python-version"] == "${{ matrix.python }}"


def test_image_is_built_of_what_a_source_distribution_carries():
    """What the Dockerfile copies is there, is not ignored, and is all of MANIFEST.in."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    copied = {name for line in lines if line.startswith("COPY ") for name in line.split()[1:-1]}
    assert all((ROOT / name).exists() for name in copied)
    assert {f"!{name}" for name in copied} == {
        line for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    }
    carried = {"setup.py", "pyproject.toml", "MANIFEST.in", "constraints.txt"}
    for line in (ROOT / "MANIFEST.in").read_text().splitlines():
        word, *names = line.split()
        carried |= set(names[:1] if word == "recursive-include" else names)
    assert copied == carried


def test_image_is_built_and_run_as_the_documents_say():
    steps = yaml.safe_load(WORKFLOW.read_text())["jobs"]["image"]["steps"]
    build, train = (step["run"] for step in steps if "run" in step)
    text = (ROOT / "docs" / "install.md").read_text()
    assert build in text
    assert train.startswith("docker run --rm vreid-fast vreid_fast.train --run runs/demo")
    assert "vreid-fast vreid_fast.train --run runs/demo" in text


def test_versions_begin_with_the_oldest_that_setup_allows():
    setup, versions = (ROOT / "setup.py").read_text(), (ROOT / ".ci" / "versions").read_text()
    oldest = [f"{name}=={re.search(f'{name}>=([0-9.]+)', setup)[1]}.*" for name in ("torch", "triton")]
    assert f'set -- "{" ".join(oldest)} ' in versions and os.access(ROOT / ".ci" / "versions", os.X_OK)


def test_workflow_has_no_secrets_and_publishes_nothing():
    text = WORKFLOW.read_text()
    assert "secret" not in text and "token" not in text and "write" not in text
    hosts = {line.split("https://")[1].split("/")[0] for line in text.splitlines() if "https://" in line}
    assert hosts == {"download.pytorch.org"}


def test_cache_follows_what_the_environment_is_made_of(job):
    cache = next(step["with"] for step in job["steps"] if "cache" in step.get("uses", ""))
    assert cache["path"] == ".venv"
    for part in ("constraints.txt", "setup.py", "csrc/**", "steps.python.outputs.python-version"):
        assert part in cache["key"]
    assert any(step.get("id") == "python" for step in job["steps"])


def test_workflow_uploads_the_report_that_ci_leaves(job, tmp_path):
    """.ci/run with programs that only say how they were called: the training goes to the folder that is uploaded."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci" / "run")
    (tmp_path / "bin").mkdir()
    for name in ("c++", "make", "apt-get", "nvcc"):
        (tmp_path / "bin" / name).write_text('#!/bin/sh\necho "$(basename "$0") $*"\n')
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "csrc").mkdir()
    (tmp_path / "csrc" / "op.cu").touch()

    def trainings(**variables):
        environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", **variables}
        done = subprocess.run([tmp_path / ".ci" / "run"], env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[:2] == ["make test", "make lint"]
        return [line.split("--run ")[1].split()[0] for line in lines if line.startswith("make train")]

    assert job["env"]["REPORTS"] == "${{ github.workspace }}/reports"
    upload = next(step["with"] for step in job["steps"] if "upload-artifact" in step.get("uses", ""))
    assert upload["path"] == "reports/run/report.html" and upload["if-no-files-found"] == "error"
    assert trainings(REPORTS="reports") == ["reports/run"]
    (elsewhere,) = trainings()
    assert Path(elsewhere).is_absolute() and Path(elsewhere).name == "run"
    Path(elsewhere).parent.rmdir()


def test_form_for_bugs():
    form = read(".github/ISSUE_TEMPLATE/bug.yml")
    assert {"name", "description", "body"} <= set(form)
    fields = {field["id"]: field for field in form["body"]}
    assert list(fields) == ["command", "machine", "came", "wanted"]
    assert all(field["validations"]["required"] for field in fields.values())
    assert "python -m vreid_fast.kernels" in fields["machine"]["attributes"]["label"]


def test_citation():
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= set(citation)  # what CFF 1.2.0 requires
    assert citation["cff-version"] == "1.2.0" and citation["license"] == "Apache-2.0"
    assert citation["version"] == vreid_fast.__version__
    (paper,) = citation["references"]
    assert {"type", "title", "authors"} <= set(paper)
    assert "2402.02108" in paper["url"]
    assert all(set(author) == {"name"} for entry in (citation, paper) for author in entry["authors"])
