"""The matcher of maps: its authors' numbers, a loop over places, tiles, and what memory it takes."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from parity import draw, error, fill_module
from torch.nn import functional as F

from vreid_fast.errors import InputError
from vreid_fast.models import matcher as module
from vreid_fast.models.matcher import Matcher


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_it_equals_the_authors(shared, mode):
    folder, case = shared("parity/modules"), f"qaconv_matcher_{mode}"
    entries = json.loads((folder / "keys.json").read_text())[case]["entries"]
    expected = np.load(folder / f"{case}.npz")
    matcher = Matcher((6, 2)).train(mode == "train")
    names = fill_module(matcher, entries)
    maps = [torch.from_numpy(expected[f"input_{of}"]).requires_grad_() for of in range(2)]
    scores = matcher(*maps)
    assert error(scores, expected["output"]) < 1e-5
    (scores * draw((3, 4), 77)).sum().backward()
    for of in range(2):
        assert error(maps[of].grad[:, :8], expected[f"grad_input_{of}"]) < 5e-5
    norms = dict(zip((entry["name"] for entry in entries), expected["grad_norm"], strict=True))
    for ours, parameter in matcher.named_parameters():
        np.testing.assert_allclose(parameter.grad.norm(), norms[names[ours]], rtol=1e-4, atol=2e-5, err_msg=ours)
    if mode == "train":
        for ours, buffer in matcher.named_buffers():
            np.testing.assert_allclose(buffer, expected[f"buffer_after.{names[ours]}"], rtol=1e-5, err_msg=ours)


def unit_maps(count, size, seed, dtype=torch.float64):
    return F.normalize(torch.from_numpy(np.random.default_rng(seed).normal(size=(count, 8, *size))).to(dtype), dim=1)


@torch.no_grad()
def test_it_equals_a_loop_over_pairs_and_places():
    torch.manual_seed(0)
    matcher = Matcher((3, 2)).double().eval()
    for norm in (matcher.norm, matcher.score_norm):
        norm.weight.fill_(1.3), norm.bias.fill_(0.2), norm.running_mean.fill_(0.4), norm.running_var.fill_(0.7)
    matcher.places.weight.normal_()
    query, gallery = unit_maps(2, (3, 2), 1), unit_maps(3, (3, 2), 2)

    def normed(value):
        return 1.3 * (value - 0.4) / (0.7 + 1e-5) ** 0.5 + 0.2

    places = [(row, column) for row in range(3) for column in range(2)]
    for q in range(2):
        for g in range(3):
            total = 0
            for one, other in ((query[q], gallery[g]), (gallery[g], query[q])):
                best = [max(float(one[:, *here] @ other[:, *there]) for there in places) for here in places]
                total += sum(w * normed(value) for w, value in zip(matcher.places.weight[0].tolist(), best))
                total += float(matcher.places.bias)
            assert float(matcher(query, gallery)[q, g]) == pytest.approx(normed(total), rel=1e-12)


@pytest.mark.parametrize("training", [False, True])
def test_tiles_change_nothing(monkeypatch, training):
    query, gallery = (unit_maps(count, (4, 3), count).requires_grad_() for count in (5, 7))
    found = []
    for tile in (1 << 24, 12 * 12 * 7 * 2, 1):
        monkeypatch.setattr(module, "TILE", tile)
        torch.manual_seed(0)
        matcher = Matcher((4, 3)).double().train(training)
        scores = matcher(query, gallery)
        found.append((scores, *torch.autograd.grad(scores.square().sum(), [query, gallery, *matcher.parameters()])))
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-10, atol=1e-12)


def test_its_gradient_is_that_of_finite_differences():
    matcher = Matcher((2, 2)).double().train()
    query, gallery = unit_maps(2, (2, 2), 3).requires_grad_(), unit_maps(3, (2, 2), 4).requires_grad_()
    assert torch.autograd.gradcheck(matcher, (query, gallery))


def test_sets_without_a_member_have_no_scores():
    matcher = Matcher((2, 2)).eval()
    assert matcher(torch.zeros(0, 8, 2, 2), torch.zeros(3, 8, 2, 2)).shape == (0, 3)
    assert matcher(torch.zeros(3, 8, 2, 2), torch.zeros(0, 8, 2, 2)).shape == (3, 0)


def test_maps_of_another_size_are_refused():
    with pytest.raises(InputError, match="pair_score: wanted maps of 16 x 8 places, got 8 x 16; give frames as built"):
        Matcher((16, 8))(torch.zeros(1, 8, 16, 8), torch.zeros(1, 8, 8, 16))


PEAK = """
import resource, torch
from torch.nn import functional as F
from vreid_fast.models.matcher import Matcher
torch.set_num_threads(1)
matcher = Matcher((16, 8)).eval()
maps = [F.normalize(torch.randn(count, 128, 16, 8), dim=1) for count in (100, 1000)]
with torch.inference_mode():
    matcher(maps[0][:2], maps[1][:2])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert matcher(*maps).isfinite().all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
def test_many_maps_are_compared_in_little_memory():
    """All pairs of locations at once would take 6.6 GB."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100_000, done.stdout  # kB
