"""README.md and docs/: their Python runs, their commands parse, what they name exists, their table is the results'."""

import contextlib
import fnmatch
import importlib.util
import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from table import table

from vreid_fast.config import parse_command, underscored
from vreid_fast.data import FORMATS
from vreid_fast.data.__main__ import make_parser as data_parser
from vreid_fast.evaluate import main as evaluate
from vreid_fast.evaluate import make_parser as evaluate_parser
from vreid_fast.export import make_parser as export_parser
from vreid_fast.extract import make_parser as extract_parser
from vreid_fast.ladder.__main__ import parse as parse_ladder
from vreid_fast.ladder.rows import configure, read_table
from vreid_fast.metrics import rank_metrics
from vreid_fast.search.__main__ import make_parser as search_parser

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = ("csrc", "kernels", "vreid_fast", "benchmarks", "tests", "docs", "examples", ".github")
SHELL = ("", "bash", "sh")
FILE = r"\.(?:py|md|yaml|yml|toml|txt|csv|png|cpp|cu|h|in)$"
"""How the name of a file of the repository ends."""
WRITTEN = {
    "config.yaml", "tracklets.csv", "tensorboard/", "ladder.md", "ladder.csv", "ladder.png", "x.py", "test_x.py",
    "extract.json", "contact_sheet.png", "features/tracklets.csv", "tracklets/camera1_track3_1",
}  # fmt: skip
"""What a command or a user writes, and placeholders."""
OF_A_USER = ("/", "runs/", "DIR/", "PATH/")


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


class Line(NamedTuple):
    """A line of a page outside of its fenced blocks."""

    page: Path
    number: int
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.number}"

    @property
    def in_table(self) -> bool:
        return self.text.startswith("|")


def split_page(page: Path) -> tuple[list[Block], list[Line]]:
    blocks, lines, fence = [], [], None
    for number, text in enumerate(page.read_text().splitlines(), 1):
        if fence is not None:
            if text.startswith("```"):
                blocks.append(Block(page, *fence[:2], "".join(f"{line}\n" for line in fence[2])))
                fence = None
            else:
                fence[2].append(text)
        elif text.startswith("```"):
            fence = (number, text[3:].strip(), [])
        else:
            lines.append(Line(page, number, text))
    assert fence is None, f"{page.name}:{fence[0]}: a block without an end"
    return blocks, lines


BLOCKS = [block for page in PAGES for block in split_page(page)[0]]
LINES = [line for page in PAGES for line in split_page(page)[1]]
SPANS = [(line, span) for line in LINES for span in re.findall(r"`([^`]+)`", line.text)]
"""What stands in backticks, and where."""
SNIPPETS = [block for block in BLOCKS if block.language == "python"]


def commands() -> list[tuple[str, str]]:
    """Command lines of the pages, and where they stand; of those in backticks the ones that have arguments."""
    found = []
    for block in BLOCKS:
        if block.language in SHELL:
            lines = re.sub(r"(?m)^docker run .* vreid-fast ", "python -m ", block.text.replace("\\\n", " "))
            found += [(str(block), line) for line in lines.splitlines()]
    found += [(str(line), span) for line, span in SPANS if re.search(r"-m vreid_fast\.\w+ .|^make train ", span)]
    return [(where, line) for where, line in found if re.search(r"vreid_fast\.\w|^make |^\S*python ", line)]


# The size of the pages


def test_readme_is_short():
    lines = README.read_text().splitlines()
    assert len(lines) <= 120
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_prose_of_pages_is_wrapped():
    only_a_link = r"[-*>\s]*!?\[[^\]]*\]\([^)]*\)[.,;]?"
    long = [
        str(line)
        for line in LINES
        if line.page != README
        and len(line.text) > 100
        and not line.in_table
        and not re.fullmatch(only_a_link, line.text)
    ]
    assert long == []


def test_backticks_close_in_their_line():
    assert [str(line) for line in LINES if line.text.count("`") % 2] == []


def test_pages_begin_with_what_a_reader_can_do():
    for page in PAGES:
        if page != README:
            assert re.match(r"# [^\n]+\n\nAfter this page you (can|know) ", page.read_text()), page.name


def test_readme_leads_to_every_page():
    linked = set(re.findall(r"\]\(docs/(\w[\w-]*\.md)\)", README.read_text()))
    assert linked == {page.name for page in PAGES if page != README}


# Python


def run_snippet(block: Block) -> dict:
    variables: dict = {}
    torch.manual_seed(0)
    exec(compile(block.text, str(block), "exec"), variables)
    return variables


def snippet(op: str) -> dict:
    """Runs the first snippet of docs/kernels.md that imports `op` alone; its variables."""
    wanted = rf"^from vreid_fast.kernels import {op}$"
    blocks = [block for block in SNIPPETS if block.page.name == "kernels.md"]
    return run_snippet(next(block for block in blocks if re.search(wanted, block.text, re.MULTILINE)))


@pytest.mark.parametrize("block", SNIPPETS, ids=str)
def test_snippet_runs(block, tmp_path, monkeypatch, request):
    monkeypatch.chdir(tmp_path)
    if re.search(r'"(runs/mine|features|index)\b', block.text):
        shutil.copytree(request.getfixturevalue("story"), tmp_path, dirs_exist_ok=True)
    run_snippet(block)


def snippet_of_features(word: str, home: Path, monkeypatch) -> dict:
    """Variables of the snippet of docs/features.md that has `word`, run beside a folder of features."""
    (block,) = [block for block in SNIPPETS if block.page.name == "features.md" and word in block.text]
    monkeypatch.chdir(home)
    return run_snippet(block)


def test_qdrant_answers_as_cosines_do(story, monkeypatch):
    found = snippet_of_features("qdrant_client", story, monkeypatch)
    features = found["features"]
    unit = torch.nn.functional.normalize(torch.from_numpy(features.vectors()), dim=1)
    cosines = unit @ unit[0]
    cosines[[row.camera == features.rows[0].camera for row in features.rows]] = -2
    wanted = cosines.topk(5)
    assert [answer.id for answer in found["answers"]] == wanted.indices.tolist()
    assert [answer.payload["path"] for answer in found["answers"]] == [features.rows[i].path for i in wanted.indices]
    torch.testing.assert_close(torch.tensor([answer.score for answer in found["answers"]]), wanted.values)
    assert found["client"].count("tracklets").count == len(features.rows)


def test_torchreids_arrays_score_as_evaluate_does(story, tmp_path, monkeypatch):
    found = snippet_of_features("q_pids", story, monkeypatch)
    scores = rank_metrics(*(found[name] for name in ("qf", "q_pids", "q_camids", "gf", "g_pids", "g_camids")))
    words = ["--checkpoint", "runs/mine/last.pt", "--data", f"folder:{story / 'my_cameras'}"]
    assert evaluate([*words, "--json", str(tmp_path / "scores.json")]) == 0
    wanted = json.loads((tmp_path / "scores.json").read_text())["student"]
    assert {name: scores[name] for name in ("map", "rank1", "queries")} == pytest.approx(
        {name: wanted[name] for name in ("map", "rank1", "queries")}
    )


def test_the_line_of_cron_forgets(story, tmp_path):
    """As cron gives it to a shell; the story was filmed long before the last 30 days."""
    shutil.copytree(story / "index", tmp_path / "index")
    (block,) = [block for block in BLOCKS if block.language == "crontab"]
    line = block.text.replace("\\%", "%").strip().removeprefix("0 3 * * * ")
    for written, here in ((".venv/bin/python", sys.executable), ("/srv/reid", str(tmp_path))):
        assert written in line
        line = line.replace(written, shlex.quote(here))
    ran = subprocess.run(["/bin/sh", "-c", line], capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "") and ", 0 remain" in ran.stdout


def test_pseudo_label_loop():
    found = snippet("kmeans")
    pseudo, images = found["pseudo"], found["images"]
    assert pseudo.counts.sum() == len(images) and len(pseudo.counts) == 12
    assert all(parameter.grad.abs().sum() > 0 for parameter in found["network"].parameters())


def test_mean_teacher():
    found = snippet("EmaUpdater")
    student, teacher, half = (found[name].state_dict() for name in ("student", "teacher", "half"))
    assert found["updater"].steps == 3
    for name, tensor in teacher.items():
        assert torch.equal(half[name], tensor.to(half[name].dtype))
        assert tensor.is_floating_point() != torch.equal(tensor, student[name])


def test_domain_classifier():
    found = snippet("gradient_reversal")
    network, classifier = found["network"], found["classifier"]
    plain = torch.nn.functional.cross_entropy(classifier(network(found["samples"])), found["domains"])
    (grad,) = torch.autograd.grad(plain, network.weight)
    features = found["gradient_reversal"](network(found["samples"]), found["strength"])
    reversed_loss = torch.nn.functional.cross_entropy(classifier(features), found["domains"])
    (reversed_grad,) = torch.autograd.grad(reversed_loss, network.weight)
    torch.testing.assert_close(reversed_grad, -found["strength"] * grad)
    assert 0.99 < found["strength"] < 1


def test_every_op_has_a_section_and_a_snippet():
    import vreid_fast.kernels

    text = (ROOT / "docs" / "kernels.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL))
    assert sorted(sections) == sorted(vreid_fast.kernels.__all__)
    for op, section in sections.items():
        assert re.search(rf"```python\n.*?import [^\n]*\b{op}\b.*?```", section, flags=re.DOTALL), op


# Command lines


def parse(module: str, words: list[str]) -> None:
    """Parse a command line by the parser of `vreid_fast.MODULE`, which runs nothing."""
    try:
        if module == "train":
            parse_command(words)
        elif module == "evaluate":
            evaluate_parser().parse_args(underscored(words))
        elif module == "export":
            export_parser().parse_args(words)
        elif module == "search":
            search_parser().parse_args(words)
        elif module == "extract":
            extract_parser().parse_args(words)
        elif module == "data":
            data_parser().parse_args(words)
        elif module == "ladder":
            arguments, knobs = parse_ladder(words)
            ladder = read_table(arguments.table)
            if arguments.rows:
                ladder = ladder.only(arguments.rows.split(","))
            configure(ladder, knobs)
        else:
            assert importlib.util.find_spec(f"vreid_fast.{module}") is not None, f"no module vreid_fast.{module}"
            assert words == [], f"vreid_fast.{module} takes no arguments"
    except SystemExit as end:
        assert end.code == 0, f"vreid_fast.{module} does not take {shlex.join(words)}"


@pytest.mark.parametrize(("where", "command"), commands())
def test_command_parses(where, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command, comments=True)
    for word in words:
        name, _, path = word.partition(":")
        assert not path.startswith("/") or name in FORMATS, f"no format {name}"
    if words[0] == "make":
        assert re.search(rf"^{words[1]}( \w+)*:", (ROOT / "Makefile").read_text(), re.MULTILINE), words[1]
        if words[1] == "train":
            parse("train", [part for word in words[2:] for part in shlex.split(word.removeprefix("ARGS="))])
    elif "-m" in words:
        module, *rest = words[words.index("-m") + 1 :]
        if words[0].endswith("torchrun") and rest[0] == "--":  # it keeps that one for itself
            rest = rest[1:]
        if "--resume" in rest:  # what is resumed has to be there
            folder = tmp_path / rest[rest.index("--resume") + 1]
            folder.mkdir(parents=True)
            (folder / "config.yaml").write_text("{}\n")
        parse(module.removeprefix("vreid_fast."), rest)
    else:
        script = next(word for word in words if word.endswith(".py"))
        assert (ROOT / script).is_file()


def test_modules_in_backticks_can_be_run():
    named = {name for _, span in SPANS for name in re.findall(r"-m (vreid_fast\.\w+)", span)}
    assert "vreid_fast.train" in named
    for name in named:
        entry = name if name.endswith(("train", "evaluate", "extract", "export")) else f"{name}.__main__"
        assert importlib.util.find_spec(entry) is not None, name


@cache
def options() -> set[str]:
    """All options of all commands, from their --help."""
    asked = [
        ("train", "--help", "all"),
        ("evaluate",),
        ("extract",),
        ("export",),
        ("ladder",),
        *(("search", command) for command in ("index", "query", "forget")),
        *(("data", command) for command in ("track", "crop", "check", "pack")),
    ]
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        for module, *words in asked:
            parse(module, [*words, "--help"])
    return set(re.findall(r"--([a-z]\w*)", text.getvalue()))


def test_options_in_backticks_exist():
    of_others = ("pip ", "python ", ".venv", "make ", "torchrun ", "docker ")
    named = [
        (str(line), option)
        for line, span in SPANS
        if not span.startswith(of_others)
        for option in re.findall(r"--([a-z][\w-]*)", span)
    ]
    assert len(named) > 20
    assert [found for found in named if found[1] not in options()] == []


# Links and paths


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    found = set()
    for line in split_page(page)[1]:
        if heading := re.match(r"#+ (.*)", line.text):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading[1])
            found.add(re.sub(r"[^\w\- ]", "", words.lower()).strip().replace(" ", "-"))
    return found


def test_links_resolve():
    broken, links = [], 0
    for line in LINES:
        for target in re.findall(r"\]\(([^)\s]+)\)", line.text):
            if target.startswith(("http://", "https://")):
                continue
            links += 1
            path, _, anchor = target.partition("#")
            file = (line.page.parent / path).resolve() if path else line.page
            there = file.exists() and file.is_relative_to(ROOT)
            if not there or (anchor and anchor not in anchors(file)):
                broken.append(f"{line}: {target}")
    assert links > 30
    assert broken == []


@cache
def names() -> set[str]:
    """Names of all files and, with a slash behind, folders of the repository."""
    inside = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if "__pycache__" not in path.parts]
    found = [*ROOT.iterdir(), *inside]
    return {path.name + "/" * path.is_dir() for path in found}


def exists(path: str) -> bool:
    """Whether a path of the pages is there: from the root or from vreid_fast/, a name alone anywhere."""
    if re.fullmatch(r"[^/]+/?", path):
        return bool(fnmatch.filter(names(), path))
    places = [ROOT / path, ROOT / "vreid_fast" / path]
    return any(place.is_dir() if path.endswith("/") else place.exists() for place in places)


def test_paths_in_backticks_exist():
    looking_like_one = [
        (str(line), span)
        for line, span in SPANS
        if re.fullmatch(r"[\w./*-]+", span) and ("/" in span or re.search(FILE, span))
        if span not in WRITTEN and not span.startswith(OF_A_USER)
    ]
    assert len(looking_like_one) > 50
    assert [found for found in looking_like_one if not exists(found[1])] == []


def tree() -> dict[Path, list[str]]:
    """The folders of the tree in docs/architecture.md, and the Python files that it names in each."""
    block = next(block for block in BLOCKS if block.page.name == "architecture.md" and "csrc/" in block.text)
    found: dict[Path, list[str]] = {}
    open_folders = [(-1, ROOT)]
    for line in block.text.splitlines():
        indent = len(line) - len(line.lstrip())
        while open_folders[-1][0] >= indent:
            open_folders.pop()
        words = line.split()
        if words[0].endswith("/"):
            open_folders.append((indent, open_folders[-1][1] / words[0]))
        folder = open_folders[-1][1]
        files = [word.strip(",;:") for word in words]
        found.setdefault(folder, []).extend(word for word in files if re.fullmatch(r"\w+\.py", word))
    return found


def test_tree_exists():
    found = tree()
    assert ROOT / "vreid_fast" / "data" / "reading" in found
    assert [str(folder.relative_to(ROOT)) for folder in found if not folder.is_dir()] == []
    missing = [str((folder / name).relative_to(ROOT)) for folder, files in found.items() for name in files
               if name not in WRITTEN and not (folder / name).is_file()]  # fmt: skip
    assert missing == []


def test_tree_is_complete():
    """A folder of the package whose files the tree lists is listed whole."""
    for folder, listed in tree().items():
        if folder.is_relative_to(ROOT / "vreid_fast") and listed:
            there = {path.name for path in folder.glob("*.py") if not path.name.startswith("__")}
            assert there <= set(listed), folder


# Speed


def test_table_of_speeds_is_that_of_the_results():
    page = (ROOT / "docs" / "speed.md").read_text()
    shown = re.search(r"<!-- python benchmarks/table.py -->\n(.*?)\n<!-- end -->", page, flags=re.DOTALL).group(1)
    assert shown == table()
