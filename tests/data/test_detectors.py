"""Detectors: each kind is told from its outputs, and its boxes are those of the frame."""

import numpy as np
import pytest
from detectors import write_bright, write_constant

from vreid_fast.data.detectors import Detector, Wishes
from vreid_fast.errors import InputError

FRAME = np.zeros((100, 200, 3), np.uint8)
BOX = np.float32([50, 20, 70, 80])  # left, top, right, bottom in FRAME


def centred(box):
    return [(box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1]]


def people(path, wishes=Wishes(), least=0.25, frame=FRAME):  # noqa: B008
    detector = Detector(str(path), wishes)
    return detector, detector(frame, least)


def one_box(found, score, box=BOX):
    np.testing.assert_allclose(found.boxes, [box], atol=1e-3)
    np.testing.assert_allclose(found.scores, [score], atol=1e-5)


def test_boxes_scores_labels_of_torchvision(tmp_path):
    path = write_constant(
        tmp_path / "d.onnx", (3, None, None), boxes=np.stack([BOX, BOX + 20, BOX + 30]),
        labels=np.array([1, 3, 1]), scores=np.float32([0.9, 0.9, 0.2]),
    )  # fmt: skip
    detector, found = people(path)
    assert (detector.kind, detector.person, detector.picture.batch, detector.picture.size) == ("nms", 1, False, None)
    one_box(found, 0.9)
    one_box(people(path, Wishes(person=3))[1], 0.9, BOX + 20)


def test_boxes_of_tensorflow_are_parts_with_y_first(tmp_path):
    parts = BOX[[1, 0, 3, 2]] / np.float32([100, 200, 100, 200])
    path = write_constant(
        tmp_path / "d.onnx", (1, 64, 64, 3), detection_boxes=parts[None, None],
        detection_classes=np.float32([[1]]), detection_scores=np.float32([[0.8]]), num_detections=np.float32([1]),
    )  # fmt: skip
    detector, found = people(path)
    assert detector.kind == "nms" and detector.picture.last
    one_box(found, 0.8)


def test_rows_of_six_are_letterboxed(tmp_path):
    # 100 x 200 becomes 80 x 160 in 160 x 160, 40 pixels of grey above.
    inside = BOX * 0.8 + np.float32([0, 40, 0, 40])
    rows = np.zeros((1, 300, 6), np.float32)
    rows[0, 0], rows[0, 1] = [*inside, 0.7, 0], [*inside, 0.9, 2]
    detector, found = people(write_constant(tmp_path / "d.onnx", (1, 3, 160, 160), output0=rows))
    assert (detector.kind, detector.person) == ("nms", 0)
    one_box(found, 0.7)


@pytest.mark.parametrize("classes", [92, 80])
def test_detr_with_and_without_nothing(tmp_path, classes):
    person = 1 if classes == 92 else 0
    logits = np.full((1, 5, classes), -9, np.float32)
    logits[..., -1] = 9
    logits[0, 2, person], logits[0, 2, -1] = 2, -9
    boxes = np.full((1, 5, 4), 0.5, np.float32)
    boxes[0, 2] = np.float32(centred(BOX)) / np.float32([200, 100, 200, 100])
    path = write_constant(tmp_path / "d.onnx", (1, 3, None, None), logits=logits, pred_boxes=boxes)
    detector, found = people(path)
    assert (detector.kind, detector.person) == ("detr", person)
    others = (classes - 1) * np.exp(-11.0)
    one_box(found, 1 / (1 + others) if classes == 92 else 1 / (1 + np.exp(-2)))


@pytest.mark.parametrize("something", [False, True])
def test_yolo_is_suppressed_here(tmp_path, something):
    inside = np.float32(centred(BOX * 0.8 + np.float32([0, 40, 0, 40])))
    rows = np.zeros((2000, (5 if something else 4) + 3), np.float32)
    rows[:, :4] = [20, 20, 10, 10]
    rows[10, :4], rows[11, :4] = inside, inside + [1, 0, 0, 0]
    rows[10:12, -3], rows[10:12, 4] = [0.8, 0.6], [0.8, 0.6]
    if something:
        rows[10:12, 4] = 0.5
    path = write_constant(tmp_path / "d.onnx", (1, 3, 160, 160), output0=(rows if something else rows.T)[None])
    detector, found = people(path)
    assert detector.kind == "yolo" and detector.picture.letterbox
    one_box(found, 0.4 if something else 0.8)


def test_people_who_overlap_less_both_stay(tmp_path):
    rows = np.zeros((2000, 5), np.float32)
    rows[0], rows[1] = [80, 80, 20, 40, 0.9], [92, 80, 20, 40, 0.8]
    _, found = people(write_constant(tmp_path / "d.onnx", (1, 3, 160, 160), output0=rows.T[None]))
    np.testing.assert_allclose(found.scores, [0.9, 0.8])


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("sides", [2, 4])
def test_centernet(tmp_path, last, sides):
    # A map of 50 x 50 for 200 x 200 pixels, so the frame is stretched to twice its height.
    heat, size = np.zeros((1, 7, 50, 50), np.float32), np.zeros((1, sides, 50, 50), np.float32)
    heat[0, 0, 25, 15], heat[0, 0, 25, 16], heat[0, 3, 5, 5] = 0.9, 0.8, 1  # the 2nd is no peak, the 3rd no person
    size[0, :, 25, 15] = [5, 30] if sides == 2 else [10, 60, 10, 60]
    order = (0, 2, 3, 1) if last else (0, 1, 2, 3)
    path = write_constant(
        tmp_path / "d.onnx", (1, 200, 200, 3) if last else (1, 3, 200, 200),
        **{"tower_0/keypoints": heat.transpose(order), "tower_0/wh": size.transpose(order)},
    )  # fmt: skip
    detector, found = people(path)
    assert (detector.kind, detector.picture.pixels, detector.picture.last) == ("centernet", "raw", last)
    one_box(found, 0.9)


def test_a_graph_sees_the_frame(tmp_path):
    frame = np.zeros((64, 96, 3), np.uint8)
    frame[16:33, 40:57] = 255
    _, found = people(write_bright(tmp_path / "d.onnx", 64, 96), frame=frame, least=0.9)
    np.testing.assert_allclose(found.boxes, [[40, 16, 56, 32]])


def test_pixels_are_as_the_kind_wants_or_as_said(tmp_path):
    frame = np.full((4, 4, 3), 255, np.uint8)
    path = write_constant(
        tmp_path / "d.onnx", (1, 3, 4, 4), logits=np.zeros((1, 2, 80), np.float32),
        pred_boxes=np.zeros((1, 2, 4), np.float32),
    )  # fmt: skip
    for pixels, value in ((None, 2.2489), ("unit", 1), ("raw", 255)):
        picture, *_ = Detector(str(path), Wishes(pixels=pixels)).picture.of(frame)
        assert picture.dtype == np.float32 and picture.shape == (1, 3, 4, 4)
        assert picture[0, 0, 0, 0] == pytest.approx(value, abs=1e-3)


def test_what_is_no_detector(tmp_path):
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(InputError, match="is no ONNX file that ONNX Runtime reads"):
        Detector(str(tmp_path / "text.onnx"))
    with pytest.raises(InputError, match="no such file; give an ONNX file"):
        Detector(str(tmp_path / "none.onnx"))
    path = write_constant(tmp_path / "d.onnx", (1, 3, 8, 8), probabilities=np.zeros((1, 1000), np.float32))
    with pytest.raises(InputError) as error:
        Detector(str(path))
    for words in ("images float (1, 3, 8, 8)", "probabilities float (1, 1000)", "pred_boxes", "heatmap", "4 + C"):
        assert words in str(error.value)
    path = write_constant(tmp_path / "d.onnx", (1, 1, 8, 8), output0=np.zeros((1, 5, 99), np.float32))
    with pytest.raises(InputError, match="takes 1 colours, wanted are 3"):
        Detector(str(path))


def test_what_gives_no_boxes(tmp_path):
    rows = np.zeros((1, 5, 2000), np.float32)
    rows[0, :, 3] = [np.nan, 5, 5, 5, 0.9]
    path = write_constant(tmp_path / "d.onnx", (1, 3, 32, 32), output0=rows)
    with pytest.raises(InputError, match="infinite or no numbers"):
        people(path)
    with pytest.raises(InputError, match="has no class 7"):
        people(path, Wishes(person=7))
    with pytest.raises(InputError, match="takes 32x32 alone"):
        people(path, Wishes(size=(64, 64)))
