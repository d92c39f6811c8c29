"""Tables of rows: the shipped ones, what a row inherits, and what is said of a wrong one."""

import re
from types import SimpleNamespace

import pytest
import torch

from vreid_fast.errors import InputError
from vreid_fast.ladder.rows import SCORED, configure, read_table
from vreid_fast.ladder.tables import notes
from vreid_fast.training.build import initial_network


def table(tmp_path, text):
    (tmp_path / "mine.yaml").write_text(text)
    return read_table(str(tmp_path / "mine.yaml"))


def knobs_of(found, words):
    """The knobs of each row."""
    return {name: SimpleNamespace(**config.knobs()) for name, config in configure(found, words)[1].items()}


def test_the_ladder_of_losses_switches_on_one_at_a_time():
    found = read_table("2")
    configs = knobs_of(found, ["--target", "synthetic:mild", "--cache", "cpu"])
    terms = {
        name: [term for term in ("l1s", "l2s", "l3s", "l1c", "l2c") if getattr(config, term) != 0]
        for name, config in configs.items()
        if config.method == "paper"
    }
    assert terms == {
        "l1s": ["l1s"], "l1s_l2s": ["l1s", "l2s"], "l1s_l2s_l3s": ["l1s", "l2s", "l3s"],
        "without_l1c": ["l1s", "l2s", "l3s", "l2c"], "without_l2c": ["l1s", "l2s", "l3s", "l1c"],
        "paper": ["l1s", "l2s", "l3s", "l1c", "l2c"],
    }  # fmt: skip
    assert configs["start"].stages == "source" and configs["start"].method == "source"
    assert configs["source"].adapt_steps > 0 and found.rows["source"].after == "start"
    assert configs["bn_adapt"].adapt_steps == 0 and found.rows["bn_adapt"].after == "source"
    assert configs["bn_camera"].statistics == "camera" and configs["bn_camera"].adapt_steps == 0
    assert configs["oracle"].source == configs["oracle"].target == "synthetic:mild"
    assert configs["paper"].source == "synthetic"
    assert all(config.cache == "cpu" for config in configs.values())


def test_the_differences_are_those_of_the_paper():
    pairs = {one.name: (one.row, one.minus) for one in read_table("2").differences}
    assert pairs["L1S"] == ("l1s", "bn_adapt") and pairs["L2S"] == ("l1s_l2s", "l1s")
    assert pairs["L3S"] == ("l1s_l2s_l3s", "l1s_l2s")
    assert pairs["L1C"] == ("paper", "without_l1c") and pairs["L2C"] == ("paper", "without_l2c")
    assert {"paper - source", "paper - bn_adapt", "plus - source", "oracle - source"} <= pairs.keys()
    assert all(one.of == SCORED for one in read_table("2").differences)


def test_plus_is_taken_apart_one_part_at_a_time():
    configs = knobs_of(read_table("4"), [])
    assert configs["plus"].cluster_by == "auto" and configs["plus_kmeans"].cluster_by == "kmeans"
    assert (configs["plus"].cluster_neighbours, configs["plus_lists_of_2"].cluster_neighbours) == (0, 2)
    assert (configs["plus"].ema_decay, configs["plus_slow_teacher"].ema_decay) == (None, 0.99)
    names = {"plus_l1s": {"l1s"}, "plus_l2s": {"l2s"}, "plus_l3s": {"l3s"}, "plus_adversarial": {"l1s", "l2s", "l3s"}}
    for row, own in names.items():
        knobs, of_plus = vars(configs[row]), vars(configs["plus"])
        changed = {knob for knob, value in knobs.items() if value != of_plus[knob]} - {"run", "start"}
        assert changed == own and all(knobs[knob] == 1 for knob in own)
    assert knobs_of(read_table("2"), [])["plus"] == configs["plus"]  # one method in all tables


def test_narrow_networks_have_a_first_stage_each():
    found = read_table("1")
    configs = knobs_of(found, ["--adapt_steps=7"])
    sizes = {"c2d": (64, 32), "ap3d": (64, 32), "ap3dnl": (64, 32), "tclnet": (64, 32), "psta": (64, 32)}
    sizes["cal"] = sizes["cavit"] = (64, 32)
    sizes |= {"c2d_large": (96, 48), "sbnet": (96, 48), "sinet": (96, 48)}
    assert {name for name, row in found.rows.items() if row.after is None} == {*sizes, "qaconv"}
    qaconv = configs["qaconv_source"]
    assert (qaconv.trunk, qaconv.height, qaconv.width, qaconv.per_epoch) == ("narrow", 64, 32, "graph")
    assert (qaconv.margin, qaconv.cross_entropy, qaconv.adapt_steps) == (16, 0, 7)
    assert [name for name, row in found.rows.items() if row.after == "qaconv"] == ["qaconv_source"]
    for network, size in sizes.items():
        for row in (network, *(f"{network}_{method}" for method in ("source", "bn_adapt", "paper", "plus"))):
            config = configs[row]
            assert (config.trunk, config.height, config.width, config.weights) == ("narrow", *size, None)
            assert config.frames == (8 if network == "psta" else 4)
        assert configs[f"{network}_paper"].adapt_steps == 7 and configs[network].stages == "source"
        assert found.rows[f"{network}_plus"].after == network
        assert (found.rows[f"{network}_bn_adapt"].after, configs[f"{network}_bn_adapt"].adapt_steps) == (
            f"{network}_source", 0,
        )  # fmt: skip
    assert configs["tclnet_source"].margin == 0.4 and configs["psta_source"].smoothing == 0.1
    assert (configs["cavit_paper"].triplet, configs["cavit_paper"].smoothing) == (0, 0.1)
    assert not any(row.published for row in found.rows.values())
    pairs = {(one.row, one.minus) for one in found.differences}
    for network in sizes:
        wanted = {("paper", "source"), ("paper", "bn_adapt"), ("plus", "source")}
        assert {(f"{network}_{one}", f"{network}_{other}") for one, other in wanted} <= pairs
        assert network == "sinet" or ("sinet_paper", f"{network}_source") in pairs
    assert ("sinet_paper", "qaconv_source") in pairs


@pytest.mark.parametrize("table", ["1", "1_full", "clothes"])
def test_every_network_of_a_table_can_be_built(table):
    words = [] if table == "1" else ["--source=svreid:/s", "--target=mars:/m"]
    _, configs = configure(read_table(table), words)
    for config in configs.values():
        with torch.device("meta"):
            initial_network(config, 3)


def test_a_preset_is_the_recipe_and_the_row_the_size():
    words = ["--config", "paper", "--people", "4", "--source=svreid:/s", "--target=mars:/m"]
    configs = knobs_of(read_table("1_full"), words)
    ap3d, sinet = configs["ap3d_paper"], configs["sinet_paper"]
    assert (ap3d.network, ap3d.height, ap3d.info_nce, ap3d.trunk) == ("ap3d", 256, 0.0, "full")
    assert (sinet.network, sinet.height, sinet.info_nce) == ("sinet", 256, 0.001)
    assert ap3d.clusters == sinet.clusters == 16 and ap3d.people == sinet.people == 4


def test_full_networks_stand_beside_what_was_published_and_want_its_source():
    found = read_table("1_full")
    with pytest.raises(InputError, match="--table 1_full needs --source and --target"):
        configure(found, [])
    # The paper's table 1: rank-1 and mAP on MARS, iLIDS-VID, PRID 2011, CCVID.
    published = {
        "ap3d_source": [44.7, 25.0, 22.7, 31.7, 56.2, 67.4, 52.8, 43.1],
        "tclnet_source": [42.6, 22.8, 26.7, 34.9, 65.6, 57.5, 42.8, 23.4],
        "psta_source": [34.2, 20.1, 23.7, 30.5, 47.9, 51.8, 61.4, 52.6],
        "c2d_glt": [38.5, 24.0, 12.0, 20.0, 33.7, 48.0, 68.2, 59.1],
        "cavit_source": [13.8, 6.5, 4.0, 6.7, 13.5, 25.2, 61.4, 42.5],
        "cal_source": [43.6, 23.4, 25.3, 31.7, 51.6, 55.1, 70.7, 66.8],
        "qaconv_source": [40.7, 22.7, 20.0, 29.4, 50.6, 61.8, 55.4, 37.8],
        "sinet_source": [42.8, 23.4, 29.3, 39.8, 53.7, 63.0, 70.7, 64.1],
        "sinet_paper": [48.1, 30.8, 42.0, 53.3, 71.9, 79.1, 78.3, 72.4],
    }
    theirs = {name: [n for pair in row.published.values() for n in pair] for name, row in found.rows.items()}
    assert {name: numbers for name, numbers in theirs.items() if numbers} == published
    assert any("TCLNet on CCVID" in note and "slip" in note for note in notes(found, {}))
    assert any("GPU" in note for note in found.notes)


def test_notes_are_a_list(tmp_path):
    assert table(tmp_path, "notes: [one, 2]\nrows: {a: {}}").notes == ("one", "2")
    with pytest.raises(InputError, match="notes: wanted a list of lines, found 'x'"):
        table(tmp_path, "notes: x\nrows: {a: {}}")


def test_real_to_real_wants_both_data_sets():
    found = read_table("3")
    with pytest.raises(InputError, match="--table 3 needs --source and --target"):
        configure(found, [])
    configs = knobs_of(found, ["--source=mars:/m", "--target=ilidsvid:/i"])
    assert configs["paper"].source == "mars:/m"


def test_a_choice_of_rows_brings_those_it_begins_from(tmp_path):
    chosen = read_table("2").only(["bn_adapt", "oracle"])
    assert list(chosen.rows) == ["start", "source", "bn_adapt", "oracle"]
    assert [one.name for one in chosen.differences] == ["oracle - source"]
    with pytest.raises(InputError, match="--rows l9s: table 2 has no such row; it has start, source"):
        read_table("2").only(["l9s"])


def test_a_row_inherits_the_first_stage_and_not_the_row_before_it(tmp_path):
    text = """
starts: {wide: {domain_width: 64, frames: 2}}
rows: {third: {after: second, triplet: 0}, second: {after: first, l1s: 0.5}, first: {method: source}}
"""
    found = table(tmp_path, text)
    configs = knobs_of(found, [])
    assert list(found.rows) == ["wide", "third", "second", "first"] and found.title == "mine.yaml"
    assert all(config.frames == 2 for config in configs.values())
    assert configs["third"].l1s is None and configs["third"].triplet == 0
    assert configs["third"].method == "paper" and configs["third"].adapt_steps > 0


def test_values_of_every_kind_reach_the_knobs(tmp_path):
    assert knobs_of(table(tmp_path, "rows: {a: {clusters: 010}}"), [])["a"].clusters == 10
    for text, said in (("l1s: .inf", "l1s"), ("clusters: 1:30", "--clusters: wanted a whole number, found '1:30'")):
        with pytest.raises(InputError, match=f"row a: .*{said}"):
            knobs_of(table(tmp_path, f"rows: {{a: {{{text}}}}}"), [])
    text = "rows: {a: {camera_aware: false, combined_sizes: [2], weights: null, split: 3, adapt_lr: 1e-5}}"
    configs = knobs_of(table(tmp_path, text), ["--weights=/w.pth"])
    assert configs["start"].weights == "/w.pth"
    a = configs["a"]
    assert (a.camera_aware, a.combined_sizes, a.weights, a.split, a.adapt_lr) == (False, (2,), None, "3", 1e-5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "found nothing; see vreid_fast/ladder/table2.yaml"),
        ("rows: [a]", r"rows: wanted a mapping of names, found \['a'\]"),
        ("rows: {}", "rows: wanted at least one"),
        ("title: x", "rows: wanted a mapping"),
        ("lines: {a: {}}\nrows: {a: {}}", "lines: the table has no such key; it takes title"),
        ("rows: {a: 3}", "row a: wanted knobs, such as .*, found 3"),
        ("rows:\n  a: {l1s: 0}\n  b: {}\n  a: {l2s: 0}", "line 4: a is there twice, in line 2 too"),
        ("rows: {a: {l1s: 0, l1s: 1}}", "line 1: l1s is there twice"),
        ("rows: {a: {seed: 3, x: [{l1s: 0,\n l1s: 1}]}}", "line 2: l1s is there twice, in line 1 too"),
        ("rows: {no: {}}", "row False: wanted a name"),
        ("rows: {a/b: {}}", "row 'a/b': wanted a name of letters"),
        ("rows: {a: {seed: 3}}", "row a: seed: the ladder sets it"),
        ("rows: {a: {after: b}}", "row a: after b: there is no such row"),
        ("rows: {a: {after: b}, b: {after: a}}", "row a: after b: a circle"),
        ("rows: {start: {}}", "row start: a first stage has that name"),
        ("starts: {x: {}, y: {}}\nrows: {a: {}}", "row a: after: wanted one of the first stages x, y"),
        ("rows: {a: {published: {MARS: 3}}}", r"row a: published: wanted DATA SET: \[rank-1, mAP\]"),
        ("rows: {a: {}}\ndifferences: {x: a}", "difference x: wanted {row: ROW, minus: ROW}, found 'a'"),
        ("rows: {a: {}}\ndifferences: {x: {row: a, minus: b}}", "difference x: minus b: there is no such row"),
        ("rows: {a: {}}\ndifferences: {x: {row: a, minus: a, of: teacher}}", "of: wanted student or student_camera or"),
        ("rows: {a: {l1s: 0}", "line"),
    ],
)
def test_a_wrong_table_is_refused_on_one_line(tmp_path, text, said):
    with pytest.raises(InputError, match=said) as error:
        table(tmp_path, text)
    assert str(error.value).startswith(f"--table {tmp_path}") and "\n" not in str(error.value)


def test_no_table_is_said():
    with pytest.raises(InputError, match="--table 5: no such file; wanted 1, 1_full, 2, 3, 4, clothes or a YAML file"):
        read_table("5")


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("{l1ss: 0}", "row last: .*l1ss.*did you mean --l1s"),
        ("{l1s: many}", "row last: .*l1s"),
        ("{l1s: -1}", "row last: --l1s must be at least 0"),
        ("{method: magic}", "row last: .*method"),
    ],
)
def test_a_wrong_knob_names_its_row(tmp_path, row, said):
    with pytest.raises(InputError, match=said) as error:
        configure(table(tmp_path, f"rows: {{first: {{}}, last: {row}}}"), [])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("words", [["--seed=3"], ["--run", "x"], ["--start=a.pt"], ["--synthetic_seed", "1"]])
def test_what_the_ladder_sets_cannot_be_given(words):
    with pytest.raises(InputError, match=f"{re.escape(words[0])}: the ladder gives it to each cell; leave it out"):
        configure(read_table("1"), words)


@pytest.mark.parametrize(("words", "said"), [(["--l9s=0"], "^--l9s: no"), (["--split=all"], "--split all: a ladder")])
def test_wrong_knobs_of_all_cells_name_no_row(words, said):
    with pytest.raises(InputError, match=said):
        configure(read_table("1"), words)
