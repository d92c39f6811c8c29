"""Means, deviations, paired intervals, and the tables made of them."""

import csv

import numpy as np
import pytest
from scipy import stats

from vreid_fast.ladder.differences import Paired, Spread
from vreid_fast.ladder.rows import read_table
from vreid_fast.ladder.tables import difference_table, markdown, notes, row_table, scores, terminal, write_csv

TEXT = """
title: Mine
rows:
  source: {method: source, published: {MARS: [1.0, 2.5]}}
  bn: {method: bn_adapt, after: source}
  paper: {published: {CCVID: [70, 60]}}
differences: {gain: {row: paper, minus: source}, per camera: {row: bn, minus: source, of: student_camera}}
"""


def result(level, teacher=False, speed=50.0):
    def at(value):
        return {"rank1": value + 0.1, "map": value, "queries": 9, "cmc": [0.5, 1.0]}

    found = {"untrained": at(0.05), "source": at(0.2), "student": at(level), "student_camera": at(level + 0.3)}
    return {**found, **({"teacher": at(0.7)} if teacher else {}), "method": "m", "seconds": 2.0,
            "clips_per_second": speed}  # fmt: skip


@pytest.fixture
def table(tmp_path):
    (tmp_path / "mine.yaml").write_text(TEXT)
    return read_table(str(tmp_path / "mine.yaml"))


@pytest.fixture
def results():
    levels = {"start": (0.2, 0.3, 0.4), "source": (0.25, 0.3, 0.45), "bn": (0.2, 0.35, 0.4), "paper": (0.4, 0.5, 0.6)}
    return {
        row: {seed: result(level, row == "paper", 0.0 if row == "bn" else 50.0) for seed, level in enumerate(found)}
        for row, found in levels.items()
    }


def test_scores_on_clothes_have_columns_where_there_are_any(table, results):
    assert not any("clothes" in name for name in row_table(table, results)[0])
    for found in results["paper"].values():
        found["student_clothes_change"] = {"rank1": 0.2, "map": 0.125}
    lines = row_table(table, results)
    assert lines[0][:6] == ["row", "seeds", "R1", "mAP", "mAP, per camera", "mAP, clothes change"]
    assert line(lines, "paper")["mAP, clothes change"].startswith("12.5")
    assert line(lines, "source")["mAP, clothes change"] == "" and len({len(one) for one in lines}) == 1


def line(lines, name, column=0):
    (found,) = [one for one in lines[1:] if one[column] == name]
    return dict(zip(lines[0], found, strict=True))


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_interval_is_that_of_a_paired_t_test(count):
    rng = np.random.default_rng(count)
    one, other = rng.normal(3, 2, count), rng.normal(2, 2, count)
    paired = Paired.of(dict(enumerate(one)), dict(reversed(list(enumerate(other)))))
    wanted = stats.ttest_rel(one, other).confidence_interval(0.95)
    assert paired.mean == pytest.approx((one - other).mean())
    assert paired.interval == pytest.approx((wanted.low, wanted.high))
    assert (paired.up, paired.seeds) == (int((one > other).sum()), count)
    spread = Spread.of(dict(enumerate(one)))
    assert (spread.mean, spread.deviation) == pytest.approx((one.mean(), one.std(ddof=1)))


def test_only_seeds_that_both_have_are_compared():
    paired = Paired.of({0: 1.0, 1: 5.0, 2: 7.0}, {1: 4.0, 2: 5.0, 3: 0.0})
    assert (paired.mean, paired.seeds, paired.up) == (1.5, 2, 2)
    assert Paired.of({0: 1.0}, {1: 1.0}) is None


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ([1.0, 1.1, 0.9], "higher"),
        ([-1.0, -1.1, -0.9], "lower"),
        ([1.0, 1.1], "higher, a hint: two seeds can agree by chance"),
        ([1.0, -1.0, 0.5], "not shown: the interval covers zero"),
        ([0.0, 0.0], "not shown: the interval covers zero"),
        ([4.0], "one seed: no interval"),
    ],
)
def test_what_an_interval_says(gains, said):
    paired = Paired.of(dict(enumerate(gains)), dict.fromkeys(range(len(gains)), 0.0))
    assert paired.verdict == said and (paired.interval is None) == (len(gains) == 1)


def test_rows_show_all_that_is_asked(table, results):
    lines = row_table(table, results)
    assert [one[0] for one in lines[1:]] == ["untrained", "first stage", "source", "bn", "paper"]
    assert line(lines, "untrained")["mAP"] == "5.0 ± 0.0" and line(lines, "untrained")["R1"] == "15.0 ± 0.0"
    paper = line(lines, "paper")
    assert (paper["seeds"], paper["R1"], paper["mAP"]) == ("3", "60.0 ± 10.0", "50.0 ± 10.0")
    assert paper["mAP, per camera"] == "80.0 ± 10.0" and (paper["seconds"], paper["clips/s"]) == ("2", "50")
    assert paper["paper, CCVID: R1 / mAP"] == "70.0 / 60.0" and paper["paper, MARS: R1 / mAP"] == ""
    assert line(lines, "source")["paper, MARS: R1 / mAP"] == "1.0 / 2.5"
    assert line(lines, "bn")["clips/s"] == ""


def test_each_first_stage_has_its_untrained_network(results):
    table = read_table("1").only(["ap3d_paper", "c2d_source"])
    found = {"ap3d": results["start"], "c2d": results["source"], "ap3d_paper": results["paper"]}
    names = [one[0] for one in row_table(table, found)[1:]]
    assert names == ["untrained c2d", "first stage c2d", "untrained ap3d", "first stage ap3d", "ap3d_paper"]
    assert "Not finished for every seed: c2d_source." in notes(table, found)


def test_differences_are_paired_and_say_where_they_cover_zero(table, results):
    lines = difference_table(table, results)
    assert [one[:3] for one in lines[1:]] == [
        ["gain", "paper - source", "student"], ["gain", "paper - source", "per camera"],
        ["per camera", "bn - source", "per camera"],
    ]  # fmt: skip
    low, high = stats.t.interval(0.95, 2, np.mean([15, 20, 15]), stats.sem([15, 20, 15]))
    assert lines[1][3:] == ["+16.7", f"{low:+.1f} to {high:+.1f}", "3 of 3", "higher"]
    assert lines[3][5:] == ["1 of 3", "not shown: the interval covers zero"]


def test_one_seed_has_no_deviation_and_says_so(table, results):
    one = {row: {0: found[0]} for row, found in results.items()}
    page = markdown(table, one, ["a → b"])
    assert "±" not in page.replace("± is", "") and "One seed: no deviation and no interval can be given." in page
    assert "| gain | paper - source | student | +15.0 |  | 1 of 1 | one seed: no interval |" in page


def test_the_page_and_the_terminal(table, results):
    page = markdown(table, results, ["a → b", "`python`"])
    assert page.startswith("# Mine\n\n- a → b\n- `python`\n\n| row | seeds | R1 | mAP |")
    assert "![each row's mean and seeds](ladder.png)" in page and "bn (after source) come on top" in page
    heights = {row.count("|") for row in page.splitlines() if row.startswith("| ")}
    assert len(heights) == 2
    shown = terminal(table, results).splitlines()
    assert shown[0].startswith("row          seeds") and shown[1].startswith("untrained    3      15.0 ± 0.0")
    assert "Not finished" not in page


def test_csv_has_a_line_a_cell_with_all_scores(results, tmp_path):
    write_csv(tmp_path / "ladder.csv", results)
    with open(tmp_path / "ladder.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 12 and [one["seed"] for one in lines] == ["0"] * 4 + ["1"] * 4 + ["2"] * 4
    paper = next(one for one in lines if one["row"] == "paper" and one["seed"] == "1")
    for network in ("untrained", "source", "student", "student_camera", "teacher"):
        for score in ("rank1", "map"):
            assert float(paper[f"{network}_{score}"]) == results["paper"][1][network][score]
    assert (paper["seconds"], paper["clips_per_second"]) == ("2.0", "50.0")
    assert lines[0]["teacher_map"] == "" and "method" not in lines[0]


def test_the_plot_has_a_point_a_seed(table, results, tmp_path):
    from vreid_fast.ladder.plot import plot_ladder

    del results["bn"]
    plot_ladder(tmp_path / "ladder", table, results)
    assert (tmp_path / "ladder.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "ladder.svg").read_text()
    for words in ("first stage: start", "paper", "student", "per camera", "untrained", "50.0", "80.0"):
        assert f">{words}<" in drawn
    assert ">bn<" not in drawn


def test_scores_leave_out_what_a_cell_does_not_have(results):
    assert (
        scores(results, "paper", "teacher") == dict.fromkeys(range(3), 70.0) and scores(results, "bn", "teacher") == {}
    )
    assert scores(results, "none") == {}


def test_a_row_without_scores_per_camera_is_shown(table, results, tmp_path):
    """As of a network that compares pairs."""
    from vreid_fast.ladder.plot import plot_ladder

    for cell in results["paper"].values():
        del cell["student_camera"]
    plot_ladder(tmp_path / "ladder", table, results)
    assert ">paper<" in (tmp_path / "ladder.svg").read_text()
    assert "| paper | 3 | 60.0 ± 10.0 | 50.0 ± 10.0 |  |" in markdown(table, results, ["a fact"])
