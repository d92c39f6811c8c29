"""Labels of tracklets.csv: which words are unknown, which spellings are one number, what names become."""

import pytest
from media import write_images

from vreid_fast.data import read_dataset
from vreid_fast.data.checks import why_unscored
from vreid_fast.errors import InputError

UNKNOWN = (
    "nan", "NaN", "NAN", "None", "none", "null", "NULL", "N/A", "n/a", "NA", "<NA>", "#N/A", "unknown", "Unknown",
    "undefined", "-", "--", "?", "-1", "-1.0", "-01", "-1e0",
)  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Reads a table of these rows: identity, or the cells of more columns."""

    def read_rows(*rows, columns="identity,camera"):
        for number in range(len(rows)):
            write_images(tmp_path / f"t{number}", 1, height=8, width=8)
        cells = [f"t{number},{row}" if "," in row else f"t{number},{row}," for number, row in enumerate(rows)]
        (tmp_path / "tracklets.csv").write_text("\n".join([f"path,{columns}", *cells]) + "\n")
        return read_dataset(f"folder:{tmp_path}")

    return read_rows


def identities(data):
    return [tracklet.identity for tracklet in data.train]


@pytest.mark.parametrize("word", UNKNOWN)
def test_words_for_nothing_are_unknown(read, word):
    data = read("7,1", "12,2", f"{word},3", f"{word},4")
    assert identities(data) == [7, 12, None, None] and [t.camera for t in data.train] == [1, 2, 3, 4]
    assert [t.identity for t in data.query] == [t.identity for t in data.gallery] == [7, 12]
    assert len(data.notes) == 1 and data.notes[0].endswith(
        f"tracklets.csv, column identity: 2 rows are taken as unknown: {word}"
    )


def test_the_note_counts_rows_and_names_each_spelling(read):
    (note,) = read("1,1", "nan,1", "N/A,2", "nan,2", ",2", "-1,2").notes
    assert note.endswith("column identity: 4 rows are taken as unknown: -1, N/A, nan")


def test_empty_cells_need_no_note(read):
    assert read("1,1", ",2").notes == ()


@pytest.mark.parametrize("word", ["Nan Li", "Noneta", "A", "N", "-2", "0", "x-1", "unknown_7"])
def test_words_that_only_look_like_it_are_people(read, word):
    data = read("1,1", f"{word},2")
    assert None not in identities(data) and len(set(identities(data))) == 2 and data.notes == ()


def test_all_unknown_is_an_unlabelled_target(read):
    data = read("nan,1", "-1,2")
    assert not data.query and not data.gallery and "no identities: nothing can be scored" in data.notes[-1]


def test_unknown_identities_are_no_queries(read):
    with pytest.raises(InputError, match="row 3, column split: gallery needs an identity, 'nan' is none"):
        read("1,1,", "nan,1,gallery", columns="identity,camera,split")
    data = read("1,1,", "nan,1,train", columns="identity,camera,split")
    assert identities(data) == [1, None]


@pytest.mark.parametrize(
    ("words", "wanted", "note"),
    [
        (("1", "1.0", "01", "+1", "1e0", "1."), [1] * 6, "+1 = 01 = 1 = 1. = 1.0 = 1e0"),
        (("007", "7", "8"), [7, 7, 8], "007 = 7"),
        (("1e3", "1000", "1E3", "1000.00"), [1000] * 4, "1000 = 1000.00 = 1E3 = 1e3"),
        (("0", "-0", "0.0"), [0] * 3, "-0 = 0 = 0.0"),
        (("-2.0", "-2"), [-2] * 2, "-2 = -2.0"),
        (("9223372036854775807", "9223372036854775807.0"), [2**63 - 1] * 2, "9223372036854775807 = 9223"),
    ],
)
def test_spellings_of_a_whole_number_are_one(read, words, wanted, note):
    data = read(*words)
    assert identities(data) == wanted
    assert len(data.notes) == 1 and f"column identity: spellings of one number are one: {note}" in data.notes[0]
    beside_text = read("bob", *words)
    assert identities(beside_text)[1:] == wanted and identities(beside_text)[0] not in wanted


def test_many_spellings_are_counted(read):
    (note,) = read(*(spelling for n in range(1, 6) for spelling in (f"{n}", f"{n}.0"))).notes
    assert note.endswith("1 = 1.0, 2 = 2.0, 3 = 3.0 and 2 more")


def test_people_meet_across_spellings(read):
    assert why_unscored(read("1.0,1", "1,2")) is None


def test_integers_keep_their_value_beside_text(read):
    assert identities(read("bob", "7", "0", "adam", "2", "zoe", "bob")) == [3, 7, 0, 1, 2, 4, 3]
    assert identities(read("zoe", "adam")) == [1, 0]
    assert identities(read("2.5", "1", "0", "1e-3")) == [3, 1, 0, 2]


def test_numbers_beyond_64_bits_are_names(read):
    data = read("18446744073709551614", "18446744073709551614.0", "5", "3458764513820540929", "1e30", "9" * 5000)
    assert identities(data) == [1, 1, 5, 3458764513820540929, 0, 2]


def test_numbers_beyond_all_bounds_end(read):
    assert len(set(identities(read("1e9999", "1e-9999", "1e99999999999", "inf", "1")))) == 5


def test_cameras(read):
    data = read("1,1.0", "1,02", "2,nan", "2,-1", "2,1")
    assert [t.camera for t in data.train] == [1, 2, None, None, 1]
    assert [note.split("column ")[1] for note in data.notes] == [
        "camera: 2 rows are taken as unknown: -1, nan",
        "camera: spellings of one number are one: 1 = 1.0",
    ]
    for word in ("1.5", "cam1", "1e99", "99999999999999999999"):
        with pytest.raises(InputError, match=f"row 2, column camera: wanted an integer, found '{word}'"):
            read(f"1,{word}")


def test_clothes_and_frames(read):
    data = read("1,1,NA,1.0", "1,2,red,nan", "2,1,3,", "2,2,3.0,1", columns="identity,camera,clothes,frames")
    assert [t.clothes for t in data.train] == [None, 0, 3, 3]
    assert "column clothes: 1 rows are taken as unknown: NA" in data.notes[0]
    with pytest.raises(InputError, match="row 2, column frames: 2 there, but .* has 1"):
        read("1,1,,2.0", columns="identity,camera,clothes,frames")


@pytest.mark.parametrize("name", ["F1.jpg", "F1.JPG"])
def test_a_row_an_image_is_refused(tmp_path, name):
    image = next(write_images(tmp_path / "a", 1).iterdir())
    image.rename(tmp_path / "a" / name)
    (tmp_path / "tracklets.csv").write_text(f"path,identity,camera\na/{name},1,1\n")
    with pytest.raises(InputError, match="row 2, column path: wanted a folder of images or a video, found the image"):
        read_dataset(f"folder:{tmp_path}")
