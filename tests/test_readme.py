"""README.md: its Python runs as it stands, its table of speeds is that of the results."""

import re
from pathlib import Path

import torch
from table import table

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def snippet(op: str) -> dict:
    """Runs the one snippet that imports `op`; its variables."""
    (text,) = (text for text in SNIPPETS if re.search(rf"^from vreid_fast.kernels import {op}$", text, re.MULTILINE))
    variables: dict = {}
    torch.manual_seed(0)
    exec(text, variables)
    return variables


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


def test_every_snippet_is_tested():
    assert len(SNIPPETS) == 3


def test_table_is_that_of_the_results():
    shown = re.search(r"<!-- python benchmarks/table.py -->\n(.*?)\n<!-- end -->", README, flags=re.DOTALL).group(1)
    assert shown == table()
