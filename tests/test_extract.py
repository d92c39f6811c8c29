"""python -m vreid_fast.extract: the vectors that a network gives, whole or gone on with, or one line."""

import json
import os
import stat

import numpy as np
import pytest
import torch
from full_disk import largest_file
from media import write_images
from ranked import run
from small_runs import flags, write_people

from vreid_fast import extract as command
from vreid_fast.data import read_dataset
from vreid_fast.device import Precision
from vreid_fast.evaluate import main as evaluate
from vreid_fast.evaluation.embed import embed
from vreid_fast.extract import main
from vreid_fast.extraction.features import read_features
from vreid_fast.train import main as train
from vreid_fast.training.build import load_network, make_protocol, reading_options


@pytest.fixture(scope="module")
def plus_run(data, tmp_path_factory):
    """A run that has statistics of the cameras 0 and 1; each sees 12 tracklets."""
    run = tmp_path_factory.mktemp("runs") / "plus"
    assert train(flags(data, run, method="plus")) == 0
    return run


def words(run, spec, out, *options):
    return ["--checkpoint", f"{run}/last.pt", "--data", spec, "--out", str(out), *map(str, options)]


def vectors_of(run, spec, with_statistics=False, **changes):
    network, config, statistics = load_network(run / "last.pt")
    precision = Precision(config.device.precision, torch.device("cpu"))
    config = config.replace(**changes)
    data = read_dataset(spec)
    tracklets = list({id(t): t for t in (*data.train, *data.query, *data.gallery)}.values())
    protocol = make_protocol(config, reading_options(config, precision))
    return tracklets, embed(network, tracklets, protocol, precision, statistics if with_statistics else None).numpy()


def test_several_processes_write_what_one_does(data, paper_run, tmp_path):
    assert main(words(paper_run, data["target"], tmp_path / "one", "--shard", 7)) == 0
    left = run(
        2, ["vreid_fast.extract", *words(paper_run, data["target"], tmp_path / "two", "--shard", 7)], script="-m"
    )
    assert [one.code for one in left] == [0, 0], [one.err for one in left]
    assert "24 vectors of" in left[0].out and left[1].out == ""
    one, two = (read_features(tmp_path / name) for name in ("one", "two"))
    np.testing.assert_allclose(two.vectors(), one.vectors(), rtol=1e-5, atol=1e-5)
    assert two.rows == one.rows and two.facts == one.facts


@pytest.mark.parametrize("format", ["safetensors", "npz"])
def test_vectors_are_those_of_embed_and_rows_say_whose(data, paper_run, tmp_path, format):
    out = tmp_path / "features"
    assert main(words(paper_run, data["target"], out, "--shard", 7, "--format", format)) == 0
    features = read_features(out)
    tracklets, wanted = vectors_of(paper_run, data["target"])
    np.testing.assert_allclose(features.vectors(), wanted, rtol=1e-5, atol=1e-5)
    assert [len(vectors) for _, vectors in features.shards()] == [7, 7, 7, 3]
    assert [row.name for row in features.rows] == [os.path.basename(os.path.dirname(t.frames[0])) for t in tracklets]
    assert [(row.camera, row.identity) for row in features.rows] == [(t.camera, t.identity) for t in tracklets]
    assert {row.split for row in features.rows} == {"train|query|gallery"}
    assert features.facts["network"] == "small" and features.facts["size"] == [32, 16]


def test_float16_and_a_parquet_table(data, paper_run, tmp_path):
    pytest.importorskip("pyarrow")
    main(words(paper_run, data["target"], tmp_path / "a"))
    assert main(words(paper_run, data["target"], tmp_path / "b", "--dtype", "float16", "--table", "parquet")) == 0
    one, two = read_features(tmp_path / "a"), read_features(tmp_path / "b")
    assert two.vectors().dtype == np.float16 and one.rows == two.rows
    np.testing.assert_allclose(one.vectors(), two.vectors(), rtol=1e-3, atol=1e-4)


def test_means_and_deviations_of_cameras(data, paper_run, tmp_path):
    main(words(paper_run, data["target"], tmp_path / "f", "--shard", 5))
    features = read_features(tmp_path / "f")
    vectors, cameras = features.vectors(), np.array([row.camera for row in features.rows])
    assert features.cameras.cameras.tolist() == [0, 1] and features.cameras.counts.tolist() == [12, 12]
    for place, camera in enumerate((0, 1)):
        np.testing.assert_allclose(features.cameras.means[place], vectors[cameras == camera].mean(0), atol=1e-5)
        np.testing.assert_allclose(features.cameras.deviations[place], vectors[cameras == camera].std(0), atol=1e-4)


def test_a_stopped_run_goes_on_and_makes_no_shard_twice(data, paper_run, tmp_path, monkeypatch, capsys):
    out, made = tmp_path / "features", []

    def embed_some(network, tracklets, *rest, **options):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(len(tracklets))
        return embed(network, tracklets, *rest, **options)

    monkeypatch.setattr(command, "embed", embed_some)
    assert main(words(paper_run, data["target"], out, "--shard", 5)) == 130
    assert shards_of(out) == ["features-00000.safetensors", "features-00001.safetensors"]
    with pytest.raises(ValueError, match="2 of 5 shards are there, extracting was stopped; the same command again"):
        read_features(out)
    monkeypatch.setattr(command, "embed", lambda *w, **o: made.append(len(w[1])) or embed(*w, **o))
    assert main(words(paper_run, data["target"], out, "--shard", 5)) == 0
    assert made == [5, 5, 5, 5, 4] and "note: 10 of 24 tracklets are there already" in capsys.readouterr().out
    np.testing.assert_allclose(read_features(out).vectors(), vectors_of(paper_run, data["target"])[1], atol=1e-5)
    assert main(words(paper_run, data["target"], out, "--shard", 5)) == 0 and len(made) == 5


def shards_of(out):
    return sorted(path.name for path in out.glob("features-*"))


def test_a_folder_belongs_to_what_made_it(data, paper_run, plus_run, tmp_path, capsys):
    out = tmp_path / "features"
    main(words(paper_run, data["target"], out))
    before = (out / "extract.json").read_text()
    for other, what in (
        (words(plus_run, data["target"], out), "another checkpoint"),
        (words(paper_run, data["source"], out), f"another data ({data['target']}, now {data['source']})"),
        (words(paper_run, data["target"], out, "--dtype", "float16"), "another dtype (float32, now float16)"),
        (words(paper_run, data["target"], out, "--network", "teacher"), "another which (student, now teacher)"),
    ):
        assert main(other) == 2
        assert f"error: --out {out}: holds features of {what}; choose another folder" in capsys.readouterr().err
    assert (out / "extract.json").read_text() == before
    (tmp_path / "notes.txt").write_text("mine")
    assert main(words(paper_run, data["target"], tmp_path)) == 2
    assert "holds files and no extract.json; wanted a new or an empty folder" in capsys.readouterr().err


def test_files_are_their_owners_alone(data, paper_run, tmp_path):
    before = os.umask(0o022)
    try:
        main(words(paper_run, data["target"], tmp_path / "features"))
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(before)
    for path in [tmp_path / "features", *(tmp_path / "features").iterdir()]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_statistics_of_each_camera_on_another_day(data, plus_run, tmp_path, capsys):
    other = f"folder:{write_people(tmp_path / 'other', 3)}"
    plain, same = tmp_path / "plain", tmp_path / "same"
    assert main(words(plus_run, other, plain)) == 0
    assert "say --same_cameras" in capsys.readouterr().out
    assert main(words(plus_run, other, same, "--same_cameras")) == 0
    assert read_features(same).facts["statistics"] == "of each camera of the target"
    np.testing.assert_allclose(read_features(same).vectors(), vectors_of(plus_run, other, True)[1], atol=1e-5)
    np.testing.assert_allclose(read_features(plain).vectors(), vectors_of(plus_run, other)[1], atol=1e-5)
    assert not np.allclose(read_features(same).vectors(), read_features(plain).vectors(), atol=1e-2)
    assert main(words(plus_run, data["target"], tmp_path / "own")) == 0
    np.testing.assert_allclose(
        read_features(tmp_path / "own").vectors(), vectors_of(plus_run, data["target"], True)[1], atol=1e-5
    )


def test_evaluate_takes_them_too(plus_run, tmp_path, capsys):
    other = f"folder:{write_people(tmp_path / 'other', 3)}"
    scores = []
    for options in ([], ["--same_cameras"]):
        file = tmp_path / "scores.json"
        given = ["--checkpoint", f"{plus_run}/last.pt", "--data", other, "--json", str(file), *options]
        assert evaluate(given) == 0
        scores.append(json.loads(file.read_text())["student"])
    assert scores[0] != scores[1]


def test_cameras_without_statistics_are_named(data, plus_run, paper_run, tmp_path, capsys):
    other = f"folder:{write_people(tmp_path / 'other', 3, cameras=4)}"
    assert main(words(plus_run, other, tmp_path / "f", "--same_cameras")) == 2
    assert "--same_cameras: the data has camera 2, 3, the checkpoint statistics of 0, 1;" in capsys.readouterr().err
    nameless = f"folder:{write_people(tmp_path / 'nameless', 3, labelled=False)}"
    assert main(words(plus_run, nameless, tmp_path / "f", "--same_cameras")) == 2
    assert "the data has camera one that is not named, the checkpoint" in capsys.readouterr().err
    assert main(words(paper_run, other, tmp_path / "f", "--same_cameras")) == 2
    assert "--same_cameras: the checkpoint has no statistics of cameras" in capsys.readouterr().err
    assert not (tmp_path / "f").exists()


def test_scenes_are_refused(paper_run, tmp_path, capsys):
    write_images(tmp_path / "room" / "a", 3, height=480, width=640)
    assert main(words(paper_run, f"folder:{tmp_path / 'room'}", tmp_path / "f")) == 2
    assert "whole scenes, not crops of people" in capsys.readouterr().err
    assert main(words(paper_run, f"folder:{tmp_path / 'room'}", tmp_path / "f", "--scenes")) == 0


def test_a_full_disk_keeps_what_is_finished(data, paper_run, tmp_path, capsys):
    out = tmp_path / "features"
    main(words(paper_run, data["target"], out, "--shard", 8))
    width = read_features(out).facts["width"]
    (out / "features-00001.safetensors").unlink()
    (out / "features-00002.safetensors").unlink()
    with largest_file(8 * width * 4 - 1000):
        assert main(words(paper_run, data["target"], out, "--shard", 8)) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {out}/features-00001.safetensors: File too large")
    assert "the shards before it are whole, the same command again goes on" in error
    assert shards_of(out) == ["features-00000.safetensors"]
    assert main(words(paper_run, data["target"], out, "--shard", 8)) == 0
