"""What each published network costs, against what is known of the authors' ones."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from vreid_fast.models import build

# Multiplications and additions, in thousands of millions a frame of 256 x 128, without the classifier. The authors of
# cavit, who project keys and values of a frame twice, need 34.
GMAC = {
    "ap3d_c2d": 4.05, "ap3d_i3d": 4.81, "ap3d_nl": 5.71, "ap3d": 4.36, "ap3dnl": 6.02, "tclnet": 4.06, "psta": 4.67,
    "cal": 4.05, "cavit": 29.66,
}  # fmt: skip


@torch.no_grad()
@pytest.mark.parametrize("name", GMAC)
def test_no_network_multiplies_more_than_its_authors_do(name):
    frames = 8 if name == "psta" else 4
    network = build(name, identities=2, frames=frames).eval()
    counter = FlopCounterMode(display=False)
    # Attention in products that are counted, not in a kernel that may not be.
    with sdpa_kernel(SDPBackend.MATH), counter:
        network.embed(torch.zeros(1, frames, 3, 256, 128))
    counted = counter.get_total_flops() / 2 / frames / 1e9
    assert 0.93 * GMAC[name] < counted < 1.02 * GMAC[name], counted
