"""report: one self-contained page, honest about what is missing, and ranked lists that pick no cherries."""

import base64
import io
from dataclasses import dataclass
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from vreid_fast.metrics import rank_distances
from vreid_fast.report import RankedItem, RankedQuery, curves, pick_ranked, series, words, write_report


def scores(mean_average_precision: float) -> dict:
    cmc = np.linspace(mean_average_precision, 1, 50).tolist()
    return {"map": mean_average_precision, "rank1": cmc[0], "rank5": cmc[4], "queries": 30, "cmc": cmc}


def history() -> list[dict]:
    rows = []
    for stage, steps in (("source", range(0, 60, 10)), ("adapt", range(0, 40, 10))):
        for step in steps:
            row = {"stage": stage, "step": step, "seconds": step / 10, "learning_rate": 1e-3, "loss": 2.0}
            row["losses"] = {"cross_entropy": 1.0 / (step + 1)}
            row["weights"] = {"identity": 1.0}
            if stage == "adapt":
                row["losses"] |= {"l1s": 0.6, "l1c": float("nan")}
                row |= {"domain_accuracy_frames": 0.5, "cluster_inertia": 3.0}
            rows.append(row)
    return rows


def ranked() -> list[RankedQuery]:
    image = np.full((256, 128, 3), 200, dtype=np.uint8)
    items = [RankedItem(image, "person 2, camera 2", 0.25, hit) for hit in (True, False)]
    return [RankedQuery([image, image], "person 1, camera 1", items, 0.75, matches=1)]


def feature_map() -> dict[str, np.ndarray]:
    features = np.random.default_rng(0).normal(size=(12, 4))
    domains = np.arange(12) % 2
    return {"before": features, "after": features[::-1], "domains": domains, "cameras": np.full(12, -1)}


def decode(source: str) -> tuple[str, bytes]:
    kind, data = source.removeprefix("data:").split(";base64,")
    return kind, base64.b64decode(data)


def test_a_whole_report(write):
    result = {
        "source": scores(0.334),
        "student": scores(0.48),
        "teacher": scores(0.47),
        "student_camera": scores(0.55),
        "seconds": 3725,
        "clips_per_second": 164.2,
        "method": "paper",
        "seed": 3,
    }
    config = {"source_steps": 300, "weights": None, "combined_sizes": [2, 4, 8]}
    environment = {"device": "a CPU of 2 cores", "torch": "2.13.0"}
    page = write(
        result=result, history=history(), ranked=ranked(), config=config, environment=environment,
        feature_map=feature_map(),
    )  # fmt: skip
    for wanted in (
        "33.4 %",
        "48.0 %",
        "+14.6 points",
        "raised the mAP by 14.6 points",
        "method paper",
        "seed 3",
        "1 h 2 min",
        "164 clips a second",
        "a CPU of 2 cores",
        "source_steps 300",
        "[2, 4, 8]",
        "Identity cross-entropy (eq. 5)",
        "L1S, domain of frames (eq. 7)",
        "Domain accuracy, frames",
        "cluster inertia",
        "person 1, camera 1",
        "AP 75.0 %, 1 match in the gallery",
    ):
        assert wanted in page.text, wanted
    assert "L1C" not in page.text  # never finite
    assert "Constant: identity 1." in page.text  # never anything but 1
    assert "No " not in page.text
    headings = [name for name, _ in page.elements if name in ("h1", "h2", "h3")]
    assert headings[0] == "h1" and headings.count("h1") == 1

    images = page.all("img")
    assert len(images) == 1 + 3 + 3 + 2 + 2 + 2  # CMC, losses, the rest, query frames, gallery, maps
    assert all(image["alt"] for image in images)
    for image in images:
        kind, data = decode(image["src"])
        if kind == "image/svg+xml":
            root = ElementTree.fromstring(data)
            references = [value for node in root.iter() for key, value in node.items() if key.endswith("href")]
            assert all(reference.startswith("#") for reference in references)
        else:
            assert Image.open(io.BytesIO(data)).convert("RGB").size == (96, 192)


def test_hits_and_misses_are_told_apart_without_colour(write):
    page = write(ranked=ranked())
    assert [image["alt"].split(": ")[-1] for image in page.all("img")[2:]] == [
        "the same person",
        "somebody else",
    ]
    assert [use["href"] for use in page.all("use")][-2:] == ["#tick", "#cross"]


def test_an_empty_report_says_what_is_missing(write):
    page = write()
    for missing in ("No scores", "No ranked lists", "No map of clips: none was asked", "No losses", "Not recorded"):
        assert missing in page.text
    assert page.all("img") == []


def test_a_result_without_scores(write):
    page = write(result={"seconds": 12.4, "clips_per_second": 90.0, "method": "paper"}, history=history())
    assert "No scores: the target has no identities" in page.text
    assert "12 s" in page.text


def test_a_loss_of_map_is_told_as_such(write):
    page = write(result={"source": scores(0.4), "student": scores(0.35)})
    assert "lowered the mAP by 5.0 points" in page.text
    assert "−5.0 points" in page.text


def test_the_authors_selection_is_named_as_what_it_is(write):
    page = write(
        result={"source": scores(0.3), "student": scores(0.4), "student_selected": scores(0.5) | {"step": 1200}}
    )
    assert "student, best on the test set the authors' selection, not a fair score; here step 1,200" in page.text
    assert "raised the mAP by 10.0 points" in page.text  # the headline is the last step's


def test_a_student_without_a_source(write):
    page = write(result={"student": {"map": 0.35}})
    assert "35.0 %" in page.text and "adapted" not in page.text
    assert "No CMC curves" in page.text


def test_scores_along_the_way_are_a_curve_and_a_single_one_is_not(write):
    rows = [{"stage": "source", "step": step, "scores": {"student": {"map": 0.3}}} for step in (10, 20)]
    rows.append({"stage": "source", "step": 20, "scores": {"teacher": {"map": 0.3}}})
    page = write(history=rows)
    assert "mAP of student" in page.text and "mAP of teacher" not in page.text


def test_words_of_the_user_are_escaped(write):
    page = write(title="<script>alert(1)</script>", config={"<b>": "<i>&"})
    assert page.all("script") == [] and page.all("b") == []
    assert "<script>alert(1)</script>" in page.text


def test_the_same_run_writes_the_same_bytes(tmp_path):
    arguments = {"title": "A", "config": {}, "environment": {}, "ranked": ranked()}
    result = {"source": scores(0.3), "student": scores(0.4)}
    first = write_report(tmp_path / "a.html", history=history(), result=result, **arguments).read_bytes()
    assert first == write_report(tmp_path / "b.html", history=history(), result=result, **arguments).read_bytes()


def test_steps_of_the_second_stage_count_on():
    found = series.series_of(history(), "losses", "cross_entropy")
    assert found.stages == ("source", "adapt")
    assert found.steps[0].tolist() == [0, 10, 20, 30, 40, 50]
    assert found.steps[1].tolist() == [50, 60, 70, 80]
    counting = [{"stage": "source", "step": 0, "loss": 1.0}, {"stage": "adapt", "step": 10, "loss": 0.5}]
    counting.append({"stage": "adapt", "step": 10, "loss": 0.4})
    assert series.series_of(counting, "loss").steps[1].tolist() == [10, 10]
    assert series.series_of(history(), "losses", "l1c") is None
    assert series.series_of(history(), "losses", "cross_entropy", "deeper") is None


def test_moving_average_keeps_lines_and_length():
    line = np.arange(100.0)
    np.testing.assert_allclose(series.moving_average(line), line, atol=1e-9)
    noise = np.random.default_rng(0).normal(size=100)
    assert series.moving_average(noise).std() < 0.6 * noise.std()


def test_labels_of_curves_that_meet_do_not_overlap():
    assert curves._spread([100, 100, 99, 50], 5, 100) == [100, 95, 90, 50]
    assert curves._spread([3, 2, 1], 5, 100, 0) == [10, 5, 0]


@pytest.mark.parametrize(("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min")])
def test_durations(seconds, said):
    assert words.duration(seconds) == said


@dataclass
class Walk:
    identity: int | None
    camera: int | None
    clothes: int | None = None
    length: int = 10

    def __len__(self):
        return self.length


def read_frames(tracklet, indices):
    assert min(indices) >= 0 and max(indices) < len(tracklet)
    return [np.full((8, 4, 3), tracklet.identity or 0, dtype=np.uint8) for _ in indices]


def walks(count: int) -> tuple[np.ndarray, list[Walk]]:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(count, 4))
    distances = np.linalg.norm(features[:, None] - features, axis=2)
    return distances, [Walk(int(i % 6), int(c)) for i, c in enumerate(rng.integers(0, 3, count))]


def test_ranked_lists_spread_from_best_to_worst():
    distances, tracklets = walks(40)
    lists = pick_ranked(distances, tracklets, tracklets, read_frames=read_frames, count=5, depth=7)
    everyone = pick_ranked(distances, tracklets, tracklets, read_frames=read_frames, count=1000)
    precision = [query.average_precision for query in everyone]
    assert precision == sorted(precision, reverse=True)
    picked = [precision[place] for place in np.linspace(0, len(precision) - 1, 5).round().astype(int)]
    assert [query.average_precision for query in lists] == picked
    assert all(len(query.gallery) == 7 and len(query.query_images) == 4 for query in lists)

    labels = [[getattr(walk, name) for walk in tracklets] for name in ("identity", "camera")]
    assert np.mean(precision) == pytest.approx(rank_distances(distances, *labels, *labels)["map"])


def test_ranked_lists_leave_out_junk_and_are_in_order():
    gallery = [Walk(1, 1), Walk(2, 1), Walk(1, 2), Walk(None, 3), Walk(1, 3)]
    lists = pick_ranked([[0.1, 0.2, 0.5, 0.3, 0.4]], [Walk(1, 1, length=2)], gallery, read_frames=read_frames)
    (query,) = lists
    # The first is junk for its camera; an item of unknown identity may be the person, so it is left out too.
    assert [(item.label, item.distance, item.hit) for item in query.gallery] == [
        ("person 2, camera 1", pytest.approx(0.2), False),
        ("person 1, camera 3", pytest.approx(0.4), True),
        ("person 1, camera 2", pytest.approx(0.5), True),
    ]
    assert (query.query_label, query.matches, len(query.query_images)) == ("person 1, camera 1", 2, 2)
    assert query.average_precision == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_ranked_lists_without_cameras_or_matches():
    gallery = [Walk(1, None), Walk(2, None)]
    (query,) = pick_ranked([[0.1, 0.2]], [Walk(1, None)], gallery, read_frames=read_frames)
    assert query.query_label == "person 1"
    assert pick_ranked([[0.1, 0.2]], [Walk(3, None)], gallery, read_frames=read_frames) == []


def test_ranked_lists_of_real_tracklets(shared, write):
    folders = sorted(shared("data/pets09/tracklets").iterdir())[::5]
    tracklets = [Walk(int(folder.name[:4]), int(folder.name[5]), length=3) for folder in folders]
    files = {id(tracklet): sorted(folder.glob("*.jpg")) for tracklet, folder in zip(tracklets, folders, strict=True)}

    def read(tracklet, indices):
        return [np.asarray(Image.open(files[id(tracklet)][index])) for index in indices]

    distances = np.random.default_rng(0).uniform(size=(len(tracklets), len(tracklets)))
    lists = pick_ranked(distances, tracklets, tracklets, read_frames=read, count=3, depth=4)
    page = write(ranked=lists)
    for image in page.all("img"):
        assert Image.open(io.BytesIO(decode(image["src"])[1])).size == (64, 128)
