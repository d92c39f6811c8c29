"""Checkpoint -> a model for other programs: `python -m vreid_fast.export --checkpoint DIR/last.pt --out model.onnx`."""

from __future__ import annotations

import argparse
import io
import json
import logging
import sys
import warnings
from collections.abc import Callable
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from . import __version__
from .data import read_dataset
from .data.commands.options import add_option, number
from .data.reading.loader import Loader, Stream, TestPlan
from .data.tracklets import distinct
from .device import Precision
from .errors import Failed, InputError, exit_code
from .evaluation.cameras import WHOLE
from .evaluation.embed import Protocol
from .extras import needs
from .files import check_writable, replacing, sha256_of, with_home
from .kernels.gather_clips import IMAGENET_MEAN, IMAGENET_STD
from .models import VideoNetwork, using_statistics
from .terminal import say
from .training.build import load_network, make_protocol, reading_options
from .training.network_checks import check_vectors

KINDS = {".onnx": (b"\x08",), ".pt2": (b"PK",)}
"""What files of a kind begin with."""
OPSET = 18
BATCHES = (1, 3, 64)
"""Numbers of clips with which the model is tried."""
CLOSE, TOP = 1e-4, 10
"""Largest error of a vector, relative to its length; and how many of the nearest must be the same."""


class RgbNetwork(nn.Module):
    """RGB from 0 to 255 -> vectors: the network with what comes before it.

    Args:
        image: whether it takes images (B, 3, H, W); else clips (B, T, 3, H, W). An image stands for a clip of T.
    """

    def __init__(self, network: VideoNetwork, frames: int, image: bool):
        super().__init__()
        self.network, self.image = network, image
        self.repeats = 1 if network.frames_alone else frames
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(3, 1, 1))
        self.register_buffer("scale", torch.tensor(IMAGENET_STD).view(3, 1, 1))

    def forward(self, rgb: Tensor) -> Tensor:
        clips = (rgb - self.mean) / self.scale
        if self.image:
            clips = clips[:, None].expand(-1, self.repeats, -1, -1, -1)
        return self.network.embed(clips)


def make_parser() -> argparse.ArgumentParser:
    """The words of the command."""
    parser = argparse.ArgumentParser(
        prog="python -m vreid_fast.export",
        description="Write a network as ONNX, or as a program of torch.export. It is tried on clips before it is kept.",
    )
    add = partial(add_option, parser)
    add("checkpoint", required=True, metavar="FILE", help="last.pt of a run")
    add("out", required=True, metavar="FILE", help="model to write: its name ends with .onnx or .pt2")
    add("network", choices=["student", "teacher"], default="student", help="(%(default)s)")
    add("camera", type=number(int, 0), metavar="N", help="with the statistics of this camera of the run")
    add("frames", type=number(int, 0), default=0, metavar="T", help="1 = it takes images; 0 = clips as in training")
    add("data", metavar="SPEC", help="clips to try it with (those of the run's target)")
    return parser


def main(argv: list[str] | None = None) -> int:
    def work() -> None:
        words = [with_home(word) for word in (sys.argv[1:] if argv is None else argv)]
        export(make_parser().parse_args(words))

    return exit_code(work)


def export(arguments: argparse.Namespace) -> None:
    """Make the model, try it, write it."""
    out = Path(arguments.out)
    if out.suffix not in KINDS:
        raise InputError(f"--out {out}: wanted a name that ends with {' or '.join(KINDS)}")
    check_writable("--out", out, KINDS[out.suffix])
    if out.suffix == ".onnx":
        needs("onnx", "onnxscript", "onnxruntime")
    network, config, statistics = load_network(arguments.checkpoint, arguments.network)
    check_vectors(network, "export")
    if arguments.camera is not None and arguments.camera not in (statistics or {}):
        known = ", ".join(map(str, sorted(statistics))) if statistics else "none"
        raise InputError(f"--camera {arguments.camera}: the checkpoint has statistics of {known}")
    image, frames = arguments.frames == 1, arguments.frames or config.test.test_frames or config.clip.frames
    if image:
        frames = config.clip.frames
    network.check_frames(frames)
    config = config.replace(test_frames=0 if frames == config.clip.frames else frames)
    protocol = make_protocol(config, reading_options(config, Precision("fp32", torch.device("cpu"))))
    spec = arguments.data or config.data.target
    clips = real_clips(spec, protocol, seed=config.data.synthetic_seed, cache=config.data.synthetic_cache)
    model = RgbNetwork(network, frames, image).eval()
    inputs = clips[:, 0] if image else clips
    facts = {
        "vreid_fast": __version__, "sha256": sha256_of(arguments.checkpoint), "network": config.network.network,
        "which": arguments.network,
        "statistics": WHOLE if arguments.camera is None else f"of camera {arguments.camera}",
        "frames": 1 if image else frames, "height": config.clip.height, "width": config.clip.width,
        "input": "RGB, 0 to 255, float32", "output": f"vectors of {network.width}, to be compared by the cosine",
    }  # fmt: skip
    own = None if arguments.camera is None else statistics[arguments.camera]
    with torch.no_grad(), using_statistics(network, own):
        content, run = (to_onnx if out.suffix == ".onnx" else to_program)(model, inputs[:3], facts)
        worst = compare(model, run, inputs)
    with replacing(out) as file:
        file.write(content)
    named = "images (B, 3, H, W)" if image else f"clips (B, {frames}, 3, H, W)"
    say(f"{out}: {named} of {config.clip.height}x{config.clip.width}, {len(content) / 1e6:.1f} MB")
    say(f"tried with {', '.join(map(str, BATCHES))} of {spec}: error {worst:.1e}")


def real_clips(spec: str, protocol: Protocol, *, seed: int, cache: str | None) -> Tensor:
    """(64, T, 3, H, W) float32 RGB from 0 to 255, of the first tracklets of a data set; few are repeated.

    Args:
        protocol: how clips are taken and read, on the CPU in float32.
        seed, cache: of synthetic people, as of `read_dataset`.

    Raises:
        InputError: the data cannot be read.
    """
    try:
        tracklets = distinct(read_dataset(spec, seed=seed, cache=cache))[: max(BATCHES)]
    except InputError as error:
        raise InputError(f"{error}; name other tracklets to try the model with: --data SPEC") from error
    if not tracklets:
        raise InputError(f"{spec}: no tracklets to try the model with; name others: --data SPEC")
    plan = TestPlan([len(tracklet) for tracklet in tracklets], protocol.frames, batch=max(BATCHES))
    with Loader([Stream(tracklets, plan)], protocol.reading) as loader:
        clips = torch.cat([batch.clips for (batch,) in loader])
    rgb = clips * torch.tensor(IMAGENET_STD).view(3, 1, 1) + torch.tensor(IMAGENET_MEAN).view(3, 1, 1)
    return rgb[list(islice(cycle(range(len(rgb))), max(BATCHES)))].clamp(0, 255)


Model = tuple[bytes, Callable[[Tensor], Tensor]]
"""A file's content, and what it computes."""


def to_onnx(model: RgbNetwork, example: Tensor, facts: dict) -> Model:
    import onnxruntime

    name = "images" if model.image else "clips"
    batch = torch.export.Dim("batch", min=1)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            model, (example,), dynamo=True, opset_version=OPSET, dynamic_shapes=({0: batch},), input_names=[name],
            output_names=["vectors"], verbose=False,
        )  # fmt: skip
    proto = program.model_proto
    for key, value in facts.items():
        proto.metadata_props.add(key=key, value=str(value))
    content = proto.SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return content, lambda rgb: torch.from_numpy(session.run(None, {name: rgb.numpy()})[0])


def to_program(model: RgbNetwork, example: Tensor, facts: dict) -> Model:
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(model, (example,), dynamic_shapes=({0: batch},))
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={"vreid_fast.json": json.dumps(facts)})
    content = file.getvalue()
    return content, torch.export.load(io.BytesIO(content)).module()


def compare(model: RgbNetwork, run: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    """The largest error of a vector, relative to its length.

    Raises:
        Failed: it is above `CLOSE`, or others are among the nearest.
    """
    worst = 0.0
    for count in BATCHES:
        wanted, found = model(inputs[:count]), run(inputs[:count])
        if found.shape != wanted.shape:
            raise Failed(f"the model gives {tuple(found.shape)} for {count} clips, the network {tuple(wanted.shape)}")
        errors = (found - wanted).norm(dim=1) / wanted.norm(dim=1)
        worst = max(worst, float(errors.nan_to_num(torch.inf).max()))
    if worst > CLOSE:
        raise Failed(f"the model's vectors differ from the network's by {worst:.1e} of their length; no file is left")
    ours, theirs = (normalize(vectors) @ normalize(vectors).T for vectors in (wanted, found))
    nearest = ours.gather(1, theirs.topk(min(TOP, len(theirs))).indices)
    if (ours.topk(nearest.shape[1]).values - nearest).abs().max() > CLOSE:
        raise Failed(f"the {TOP} nearest by the model's vectors are others than by the network's; no file is left")
    return worst


if __name__ == "__main__":
    sys.exit(main())
