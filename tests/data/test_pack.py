import json
import multiprocessing
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from loading import make_loader
from media import encoded_picture, picture, write_images, write_video
from packs import labels, run_pack, write_data
from trees import small_prid_splits, write_prid2011

from vreid_fast.data import Dataset, Tracklet, read_dataset, read_frames
from vreid_fast.data.commands.packing import write_pack
from vreid_fast.data.formats.pack import read_pack
from vreid_fast.data.reading.images import read_encoded, read_video
from vreid_fast.data.reading.loader import TestPlan, TrainPlan
from vreid_fast.data.reading.video import probe
from vreid_fast.data.sampling.samplers import CameraSampler
from vreid_fast.data.tracklets import FramePaths
from vreid_fast.errors import InputError


@pytest.fixture
def source(tmp_path):
    return write_data(tmp_path / "source")


def contents(tracklet):
    """The bytes of all that a tracklet holds."""
    if tracklet.video is not None:
        return [read_video(tracklet).tobytes()]
    return [read_encoded(tracklet, number).tobytes() for number in range(len(tracklet))]


def every(data):
    return data.train + data.query + data.gallery


def test_a_pack_reads_as_its_source(source, tmp_path, capsys):
    spec = run_pack(source, tmp_path / "out" / "pack", "--shard-size", "1K")
    given, packed = read_dataset(source), read_dataset(spec)
    assert packed.name == spec and packed.table().splitlines() == given.table().splitlines()
    for one, two in zip(every(given), every(packed), strict=True):
        assert labels(one) == labels(two) and contents(one) == contents(two)
        assert one.video is None or (probe(one.video) == probe(two.video) and one.frames == two.frames)
    assert [row.identity for row in packed.train] == [7, None, 9] and packed.train[1].camera == 3
    assert packed.query[2] is packed.gallery[3] is packed.train[2]
    assert len(list((tmp_path / "out" / "pack").glob("*.tar"))) > 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["pack"]
    assert "6 tracklets, 60 frames, " in capsys.readouterr().out


def test_names_and_slices(source, tmp_path):
    packed = read_dataset(run_pack(source, tmp_path / "pack"))
    frames = packed.train[1].frames
    assert len(frames) == 40 and frames[3] == f"{tmp_path}/pack/00000.tar:00000001.0003.jpg" and frames[-1] in frames
    some = frames[5:30:10]
    assert list(some) == [frames[5], frames[15], frames[25]] and len(some[1:]) == 2 and some[1:][-1] == frames[25]
    assert (some.encoded(-1) == frames.encoded(25)).all() and repr(some).endswith("tracklet 1, 3 frames)")
    with pytest.raises(IndexError):
        some[3]
    with pytest.raises(IndexError):
        some.encoded(3)
    names = [name.rpartition(".")[2] for name in packed.query[1].frames]
    assert names == ["bmp", "jpg", "jpeg"]
    assert str(packed.train[2].video) == f"{tmp_path}/pack/00000.tar:00000002.webm"
    assert str(packed.train[2].video) in str(packed.train[2])


def test_opening_reads_no_shard(source, tmp_path, monkeypatch):
    spec = run_pack(source, tmp_path / "pack")
    monkeypatch.setattr("vreid_fast.data.reading.packed.Pack._open", lambda *_: pytest.fail("a shard was opened"))
    assert len(read_dataset(spec).train) == 3


def test_shards_are_plain_webdataset(source, tmp_path):
    run_pack(source, tmp_path / "pack", "--shard_size", "4K")
    given, samples = read_dataset(source), {}
    for shard in sorted((tmp_path / "pack").glob("*.tar")):
        keys = set()
        with tarfile.open(shard) as members:
            for member in members:
                key, _, ending = member.name.partition(".")
                keys.add(key)
                samples.setdefault(key, {})[ending] = members.extractfile(member).read()
        assert keys and len(samples) == max(int(key) for key in keys) + 1, "a tracklet is in two shards"
    facts = [json.loads(samples[f"{row:08d}"].pop("json")) for row in range(6)]
    assert facts[0] == {
        **{"identity": 7, "camera": 1, "clothes": 3, "splits": [["train", "gallery"]], "source": "jpg"},
        "names": ["F1.jpg", "F2.jpg", "F3.jpg", "F4.jpg", "F5.jpg"],
    }
    assert facts[1]["identity"] is None and facts[2]["source"] == "videos/vp9.webm" and facts[2]["names"] == []
    assert list(samples["00000000"].values()) == contents(given.train[0])
    assert [*samples["00000002"].items()] == [("webm", contents(given.train[2])[0])]


def test_the_webdataset_package_reads_it(source, tmp_path):
    webdataset = pytest.importorskip("webdataset")
    run_pack(source, tmp_path / "pack")
    samples = list(webdataset.WebDataset(str(tmp_path / "pack" / "00000.tar"), shardshuffle=False))
    assert [sample["__key__"] for sample in samples] == [f"{row:08d}" for row in range(6)]
    assert samples[0]["0004.jpg"] == contents(read_dataset(source).train[0])[4]
    assert json.loads(samples[3]["json"])["source"] == "png"


def test_a_pack_of_a_pack_and_what_its_source_said(tmp_path):
    write_images(tmp_path / "source" / "a", 2)
    one = run_pack(f"folder:{tmp_path / 'source'}", tmp_path / "one")
    two = run_pack(one, tmp_path / "two")
    first, second = read_dataset(one), read_dataset(two)
    assert contents(first.train[0]) == contents(second.train[0])
    assert len(first.notes) == 1 and "nothing can be scored" in first.notes[0] and second.notes == first.notes
    tracklets = first.train
    write_pack([Dataset("x:", tracklets, [], [], official={"train": "1 tracklet"})], tmp_path / "three")
    assert read_dataset(f"pack:{tmp_path / 'three'}").official == {"train": "1 tracklet"}


def test_all_splits_are_packed_once(tmp_path):
    spec = write_prid2011(tmp_path / "prid", small_prid_splits(), frames=3)
    for number, image in enumerate(sorted((tmp_path / "prid").rglob("*.png"))):
        image.write_bytes(encoded_picture(number, "PNG"))
    packed = run_pack(spec, tmp_path / "pack")
    facts = json.loads((tmp_path / "pack" / "pack.json").read_text())
    assert (facts["tracklets"], facts["frames"], facts["splits"]) == (8, 24, 10)
    for split in range(10):
        ours, theirs = read_dataset(packed, split=split), read_dataset(spec, split=split)
        assert ours.splits == 10 and ours.official == theirs.official
        for subset in ("train", "query", "gallery"):
            assert [*map(labels, getattr(ours, subset))] == [*map(labels, getattr(theirs, subset))]
            assert [*map(contents, getattr(ours, subset))] == [*map(contents, getattr(theirs, subset))]
    with pytest.raises(InputError, match="split 10: wanted 0 to 9"):
        read_dataset(packed, split=10)


def test_a_gallery_is_chosen_when_packing(source, tmp_path):
    spec = run_pack(source, tmp_path / "pack", "--mars_gallery", "without_query")
    with pytest.raises(InputError, match="--mars_gallery without_query: .* has the gallery it was packed with"):
        read_dataset(spec, mars_gallery="without_query")


def test_one_set_of_frames_under_two_labels_is_two_tracklets(tmp_path):
    write_images(tmp_path / "a", 1)
    frames = FramePaths(tmp_path / "a", ["F1.jpg"])
    one, two = (Dataset("x:", [Tracklet(frames, identity)], [], [], splits=2) for identity in (1, 2))
    write_pack([one, two], tmp_path / "pack")
    assert [read_pack(str(tmp_path / "pack"), split=split).train[0].identity for split in (0, 1)] == [1, 2]


def test_threads_change_nothing(source, tmp_path):
    one, many = (read_dataset(run_pack(source, tmp_path / n, "--threads", n)) for n in ("1", "7"))
    assert [*map(contents, every(one))] == [*map(contents, every(many))]


def test_pickles_and_forks(source, tmp_path):
    data = read_dataset(run_pack(source, tmp_path / "pack"))
    wanted = [*map(contents, every(data))]
    again = pickle.loads(pickle.dumps(data))
    assert [*map(contents, every(again))] == wanted and again.query[2] is again.gallery[3]
    assert len(pickle.dumps(data)) < 5_000
    for method in ("fork", "spawn"):
        with multiprocessing.get_context(method).Pool(1) as pool:
            assert pool.map(contents, every(data)) == wanted
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(contents, every(pickle.loads(pickle.dumps(data))))) == wanted


@pytest.mark.parametrize("backend", ["torch", "dali"])
def test_a_pack_gives_the_batches_of_its_source(source, tmp_path, backend):
    if backend == "dali":
        pytest.importorskip("nvidia.dali")
    given, packed = (every(read_dataset(spec)) for spec in (source, run_pack(source, tmp_path / "pack")))
    lengths = [len(tracklet) for tracklet in given]
    sampler = CameraSampler([tracklet.camera for tracklet in given], 4)
    train = TrainPlan(lengths, sampler, frames=3, size=(48, 32), steps=3, pad=3, views=2)
    for plan in (train, TestPlan(lengths, 3, batch=4)):
        loaders = [make_loader(rows, plan, size=(48, 32), backend=backend, threads=2) for rows in (given, packed)]
        for (ours,), (theirs,) in zip(*loaders, strict=True):
            assert torch.equal(ours.tracklets, theirs.tracklets)
            assert all(torch.equal(a, b) for a, b in zip(ours.views, theirs.views, strict=True))
        for loader in loaders:
            loader.close()


@pytest.mark.parametrize("value", [2**63, -(2**63)])
def test_labels_that_do_not_fit(tmp_path, value):
    write_images(tmp_path / "a", 1)
    tracklet = Tracklet(FramePaths(tmp_path / "a", ["F1.jpg"]), value)
    with pytest.raises(InputError, match=f"identity of tracklet .*{value}"):
        write_pack([Dataset("x:", [tracklet], [], [])], tmp_path / "pack")
    assert not (tmp_path / "pack").exists()


def test_a_video_that_is_not_as_long_as_its_tracklet(tmp_path):
    video = str(write_video(tmp_path / "a.webm", 4))
    with pytest.raises(InputError, match=r"a.webm .*3 frames.* holds 4 frames"):
        write_pack([Dataset("x:", [Tracklet(range(3), video=video)], [], [])], tmp_path / "pack")


@pytest.mark.parametrize("tracklets, message", [([], "x:: no tracklets"), ([Tracklet([])], "nothing to pack")])
def test_nothing_to_pack(tmp_path, tracklets, message):
    with pytest.raises(InputError, match=message):
        write_pack([Dataset("x:", tracklets, [], [])], tmp_path / "pack")
    assert not list(tmp_path.iterdir())


def test_frames_of_a_pack_are_decoded(source, tmp_path):
    packed = read_dataset(run_pack(source, tmp_path / "pack"))
    for tracklet in (packed.query[0], packed.train[2]):
        frames = read_frames(tracklet, [2, 0])
        assert [abs(frame.astype(int) - picture(n)).mean() < 3 for frame, n in zip(frames, (2, 0))] == [True] * 2
