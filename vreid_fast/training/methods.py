"""What `--method` may be, and what each makes of the unlabelled target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from vreid_fast.config import Config
from vreid_fast.data.batches import Batches
from vreid_fast.device import Precision
from vreid_fast.evaluation.embed import Protocol

from .consistency import Consistency, PaperConsistency
from .learner import Learner
from .proxy_consistency import ProxyConsistency
from .target_statistics import embed_target
from .transport_consistency import TransportConsistency


@dataclass(frozen=True)
class Method:
    """What sets a method apart from the others."""

    statistics: str
    """Batch-norm statistics at test, with `--statistics auto`."""
    consistency: type[Consistency] | None = None
    """What it makes of the unlabelled target; None = the second stage goes on with the source alone."""
    one_camera: bool = False
    """Whether a target batch is of one camera, where each camera has statistics of its own."""
    adversarial: float | None = 1.0
    """Factor of each adversarial loss where its knob does not say it; None = there are none."""
    ema_decay: float = 0.99
    """Highest decay of the teacher where the knob does not say it."""
    domain_norms: bool = False
    """Whether source and target have batch norms apart."""


METHODS = {
    "source": Method("running"),
    "bn_adapt": Method("target"),
    "paper": Method("target", PaperConsistency),
    "plus": Method("camera", ProxyConsistency, one_camera=True, adversarial=0.0, ema_decay=0.95),
    "glt": Method("target", TransportConsistency, adversarial=None, domain_norms=True),
}


def make_consistency(
    config: Config, learner: Learner, batches: Batches, protocol: Protocol, precision: Precision, per_camera: bool
) -> Consistency | None:
    """What the method makes of the unlabelled target."""
    clusters, width, device = config.clusters, learner.student.width, learner.device
    kind = METHODS[config.stages.method].consistency
    if kind is PaperConsistency:
        return PaperConsistency(config.consistency, clusters, batches, precision, width, device)
    embed = partial(embed_target, batches=batches, protocol=protocol, precision=precision, per_camera=per_camera)
    identities = batches.domains.hidden_identities()
    if kind is TransportConsistency:
        steps = config.stages.adapt_steps
        return TransportConsistency(config.transport, clusters, batches, embed, width, steps, device, identities)
    if kind is ProxyConsistency:
        return ProxyConsistency(config.proxies, clusters, batches, embed, width, device, identities)
    return None
