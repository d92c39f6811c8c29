"""report.terminal: the closing table."""

from vreid_fast.report import score_table

SOURCE = {"map": 0.334, "rank1": 0.34, "rank5": 0.612, "rank10": 0.72, "rank20": 0.801, "queries": 360}
STUDENT = {"map": 0.48, "rank1": 0.539, "rank5": 0.7, "rank10": 0.8, "rank20": 1.0, "queries": 360}


def test_columns_line_up_and_the_gain_is_over_the_first_row():
    table = score_table({"source-only": SOURCE, "student": STUDENT, "teacher": {**SOURCE, "map": 0.3}})
    header, rule, source, student, teacher, *_ = table.splitlines()
    assert header.split()[-6:] == ["R10", "R20", "queries", "gain", "in", "mAP"]
    assert set(rule) == {"-"}
    assert source.split() == ["source-only", "33.4", "34.0", "61.2", "72.0", "80.1", "360"]
    assert student.split() == ["student", "48.0", "53.9", "70.0", "80.0", "100.0", "360", "+14.6"]
    assert teacher.split()[-1] == "-3.4"
    for title in ("R1", "R20", "queries"):
        end = header.index(title + " ") + len(title)
        assert all(line[end - 1].isdigit() and line[end] == " " for line in (source + " ", student, teacher))
    assert len(header) == len(rule) == len(student) == len(teacher)


def test_rows_are_explained():
    table = score_table({"source": SOURCE, "student_camera": STUDENT, "ResNet-50 of ImageNet": SOURCE})
    assert "source-only: before adaptation" in table and "mAP: 100 if all right answers come first" in table
    assert "student, per camera: its features standardised per camera" in table
    assert "ResNet-50 of ImageNet  33.4" in table


def test_unmatched_queries_and_absent_scores_show():
    table = score_table({"student": {"map": 0.5, "queries": 7, "unmatched": 3}})
    assert "3 queries without a match" in table
    assert table.splitlines()[2].split() == ["student", "50.0", "-", "-", "-", "-", "7"]


def test_no_rows():
    assert score_table({}).startswith("no scores")


def test_means_over_splits_show_their_deviation():
    mean = {"student": {"map": 0.5, "rank1": 0.25, "queries": 88.5, "unmatched": 0.5}}
    table = score_table(mean, {"student": {"map": 0.0123, "rank1": 0.1}})
    assert "50.0 ± 1.2  25.0 ± 10.0" in table and "88.5" in table
    assert "mean ± standard deviation over the splits" in table and "0.5 queries without a match" in table


def test_rows_of_another_protocol_are_not_compared():
    clothed = {**STUDENT, "unmatched": 5}
    table = score_table({"source": SOURCE, "student": STUDENT, "student_clothes_change": clothed})
    row = next(line for line in table.splitlines() if line.startswith("student, other clothes"))
    assert row.split()[-1] == "360" and "only matches in other clothes count" in table
    assert "without a match" not in table
