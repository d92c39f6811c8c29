"""python -m vreid_fast.export: files whose vectors are the network's, tried before they are kept."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from small_runs import flags

import vreid_fast
from vreid_fast import export as command
from vreid_fast.data import read_dataset, read_frames
from vreid_fast.export import RgbNetwork, compare, main, to_onnx, to_program
from vreid_fast.models import MATCHING, NETWORKS, build
from vreid_fast.train import main as train

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


@pytest.fixture(scope="module")
def plus_run(data, tmp_path_factory):
    run = tmp_path_factory.mktemp("runs") / "plus"
    assert train(flags(data, run, method="plus")) == 0
    return run


def words(run, out, *options):
    return ["--checkpoint", f"{run}/last.pt", "--out", str(out), *map(str, options)]


def rgb_of(data, count=5):
    """(N, 2, 3, 32, 16) float32 of what the test takes of three frames: the first two."""
    tracklets = read_dataset(data["target"]).query[:count]
    frames = np.stack([np.stack(read_frames(tracklet, [0, 1])) for tracklet in tracklets])
    return tracklets, torch.from_numpy(frames).permute(0, 1, 4, 2, 3).float()


def run_file(path, rgb):
    if path.suffix == ".pt2":
        return torch.export.load(path).module()(rgb)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {session.get_inputs()[0].name: rgb.numpy()})[0])


def of_extractor(run, tracklets, camera=None, fp32=None):
    extractor = vreid_fast.Extractor(run / "last.pt", device="cpu", camera=camera)
    return extractor([tracklet.frames.folder for tracklet in tracklets])


@pytest.fixture(scope="module", params=[".onnx", ".pt2"])
def ending(request):
    return request.param


def test_vectors_of_clips_are_the_extractors(data, paper_run, tmp_path, ending, capsys):
    out = tmp_path / f"model{ending}"
    assert main(words(paper_run, out)) == 0
    said = capsys.readouterr().out
    assert "clips (B, 2, 3, H, W) of 32x16" in said and "tried with 1, 3, 64 of " in said
    tracklets, rgb = rgb_of(data)
    for count in (1, 2, 5):
        found, wanted = run_file(out, rgb[:count]), of_extractor(paper_run, tracklets[:count])
        assert torch.cosine_similarity(found, wanted).min() > 0.999  # the extractor may compute in bf16
    assert out.stat().st_size > 1000 and [path.name for path in tmp_path.iterdir()] == [out.name]


def test_one_cameras_statistics_are_baked_in(data, plus_run, tmp_path, ending):
    tracklets, rgb = rgb_of(data)
    files = [tmp_path / f"{name}{ending}" for name in ("whole", "one")]
    assert main(words(plus_run, files[0])) == 0 and main(words(plus_run, files[1], "--camera", 1)) == 0
    whole, one = (run_file(file, rgb) for file in files)
    assert torch.cosine_similarity(whole, of_extractor(plus_run, tracklets)).min() > 0.999
    assert torch.cosine_similarity(one, of_extractor(plus_run, tracklets, camera=1)).min() > 0.999
    assert torch.cosine_similarity(one, whole).max() < 0.9999


def test_a_model_of_images(paper_run, data, tmp_path, ending, capsys):
    assert main(words(paper_run, tmp_path / f"image{ending}", "--frames", 1)) == 0
    assert "images (B, 3, H, W) of 32x16" in capsys.readouterr().out
    _, rgb = rgb_of(data)
    found = run_file(tmp_path / f"image{ending}", rgb[:, 0])
    extractor = vreid_fast.Extractor(paper_run / "last.pt", device="cpu")
    wanted = extractor([image.permute(1, 2, 0).byte().numpy() for image in rgb[:, 0]])
    assert torch.cosine_similarity(found, wanted).min() > 0.999


def test_what_a_file_says_of_itself(paper_run, tmp_path):
    main(words(paper_run, tmp_path / "model.onnx", "--network", "teacher"))
    main(words(paper_run, tmp_path / "model.pt2", "--network", "teacher"))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    extra = {"vreid_fast.json": ""}
    torch.export.load(tmp_path / "model.pt2", extra_files=extra)
    assert {name: str(value) for name, value in json.loads(extra["vreid_fast.json"]).items()} == facts
    assert facts["which"] == "teacher" and facts["frames"] == "2" and (facts["height"], facts["width"]) == ("32", "16")
    assert len(facts["sha256"]) == 64 and facts["input"] == "RGB, 0 to 255, float32"
    assert [one.name for one in session.get_outputs()] == ["vectors"] and session.get_inputs()[0].shape[0] == "batch"


def test_a_model_that_computes_something_else_is_not_kept(paper_run, tmp_path, monkeypatch, capsys):
    plain = command.to_onnx

    def wrong(*words):
        _, run = plain(*words)
        return b"x", lambda rgb: run(rgb) * 1.001

    monkeypatch.setattr(command, "to_onnx", wrong)
    assert main(words(paper_run, tmp_path / "model.onnx")) == 2
    assert "the model's vectors differ from the network's by 1.0e-03 of their length" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "options, wrong",
    [
        (["--out", "model.pb"], "--out model.pb: wanted a name that ends with .onnx or .pt2"),
        (["--camera", "0"], "--camera 0: the checkpoint has statistics of none"),
        (["--data", "folder:/nowhere"], "name other tracklets to try the model with: --data SPEC"),
        (["--out", "no/where.onnx"], "--out no/where.onnx: cannot be written"),
    ],
)
def test_what_is_refused(paper_run, tmp_path, monkeypatch, capsys, options, wrong):
    monkeypatch.chdir(tmp_path)
    assert main([*words(paper_run, "model.onnx"), *options]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and wrong in error and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_is_not_written_over(paper_run, capsys):
    before = (paper_run / "last.pt").read_bytes()
    assert main(words(paper_run, paper_run / "last.pt")) == 2
    (paper_run / "other.onnx").write_text("mine")
    assert main(words(paper_run, paper_run / "other.onnx")) == 2
    assert "is there and something else" in capsys.readouterr().err
    assert (paper_run / "last.pt").read_bytes() == before


def make(name):
    torch.manual_seed(0)
    frames = 8 if name == "psta" else 4
    trunk = "full" if name in ("small", "resnet18") else "narrow"
    network = build(name, identities=3, frames=frames, size=(96, 48), trunk=trunk).eval()
    return network, frames, 255 * torch.rand(64, frames, 3, 96, 48)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name not in MATCHING])  # the others have no vectors
def test_every_network_takes_any_batch(name):
    network, frames, rgb = make(name)
    model = RgbNetwork(network, frames, image=False).eval()
    with torch.no_grad():
        assert compare(model, to_program(model, rgb[:3], {})[1], rgb) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["small", "sinet", "ap3d", "tclnet", "psta", "cavit"])
def test_networks_in_onnx(name):
    network, frames, rgb = make(name)
    model = RgbNetwork(network, frames, image=name in ("small", "ap3d")).eval()
    inputs = rgb[:, 0] if model.image else rgb
    with torch.no_grad():
        assert compare(model, to_onnx(model, inputs[:3], {})[1], inputs) < 1e-4


def test_help_needs_no_onnx():
    code = "import sys; sys.modules['onnxruntime'] = None; from vreid_fast.export import main; main(['-h'])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0 and "--camera" in ran.stdout
