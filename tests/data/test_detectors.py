"""Detectors: their kind is told from the graph, and boxes come back in the frame."""

import numpy as np
import pytest

pytest.importorskip("onnxruntime")
from detectors_made import answering

from vreid_fast.data.detectors import load_detector
from vreid_fast.data.detectors.frame import fit
from vreid_fast.data.detectors.yolo import suppressed
from vreid_fast.errors import InputError

FRAME = np.zeros((200, 400, 3), np.uint8)
WANTED = [[100, 40, 160, 180], [10, 20, 50, 120]]
"""Corners of two people in FRAME, the surer one first."""
SEEN = np.array([[80, 72, 128, 184], [8, 56, 40, 136], [200, 60, 220, 90]], np.float32)
"""The same in a letterbox of 320 x 320, and something else: 0.8 of the size, 80 - 40 below the top edge."""


def found(path, least=0.3, frame=FRAME, **options):
    boxes, scores = load_detector(str(path), **options)(frame, least)
    return boxes.round().astype(int).tolist(), scores.round(3).tolist()


def centres(boxes):
    return np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], 1)


SEEN[:, [1, 3]] = np.array([[40, 180], [20, 120], [60, 90]]) * 0.8 + 80


def test_boxes_scores_and_labels(tmp_path):
    answers = {"boxes": SEEN, "labels": np.array([1, 1, 3]), "scores": np.float32([0.9, 0.6, 0.95])}
    path = answering(tmp_path / "d.onnx", [1, 3, 320, 320], **answers)
    assert load_detector(str(path)).kind == "boxes" and found(path) == (WANTED, [0.9, 0.6])
    assert found(path, 0.7) == (WANTED[:1], [0.9])
    assert found(path, person=3)[1] == [0.95]
    batched = {name: array[None] for name, array in answers.items()}
    assert found(answering(tmp_path / "b.onnx", [1, 3, 320, 320], **batched)) == (WANTED, [0.9, 0.6])


def test_yolo_of_all_ages(tmp_path):
    # v8: 1 x (4 + classes) x places; a double of the first person is suppressed, a car is none.
    places = np.concatenate([centres(SEEN[[0, 0, 1, 2]]), [[0.7, 0], [0.9, 0], [0.6, 0], [0, 0.9]]], 1)
    places[0, 0] += 2
    v8 = np.zeros((1, 6, 50), np.float32)
    v8[0, :, :4] = places.T
    path = answering(tmp_path / "v8.onnx", [1, 3, 320, 320], output0=v8)
    assert load_detector(str(path)).kind == "yolo" and found(path) == (WANTED, [0.9, 0.6])
    v5 = np.zeros((1, 50, 7), np.float32)
    v5[0, :4] = np.concatenate([places[:, :4], [[0.7], [0.9], [0.6], [0.9]], [[1, 0], [1, 0], [1, 0], [0, 1]]], 1)
    assert found(answering(tmp_path / "v5.onnx", [1, 3, 320, 320], output=v5)) == (WANTED, [0.9, 0.6])
    v10 = np.zeros((1, 30, 6), np.float32)
    v10[0, :3] = np.concatenate([SEEN, [[0.9, 0], [0.6, 0], [0.95, 2]]], 1)
    assert found(answering(tmp_path / "v10.onnx", [1, 3, 320, 320], output=v10)) == (WANTED, [0.9, 0.6])


def test_detr(tmp_path):
    parts = np.float32(centres(np.array([*WANTED, [0, 0, 9, 9]], float)) / [400, 200, 400, 200])[None]
    logits = np.full((1, 3, 92), -9, np.float32)
    logits[0, 0, 1], logits[0, 0, 91], logits[0, 1, 1], logits[0, 1, 91], logits[0, 2, 91] = 3, 1, 2, 1.9, 5
    path = answering(tmp_path / "detr.onnx", [1, 3, 480, 640], logits=logits, pred_boxes=parts)
    boxes, scores = found(path)
    assert (
        load_detector(str(path)).kind == "detr"
        and boxes == WANTED
        and scores == pytest.approx([0.881, 0.525], abs=0.01)
    )
    sigmoid = np.full((1, 3, 80), -9, np.float32)
    sigmoid[0, :2, 0] = 2.2, 0.4
    assert found(answering(tmp_path / "rt.onnx", [1, 3, 640, 640], logits=sigmoid, boxes=parts))[0] == WANTED


def test_boxes_are_cut_at_the_frames_edge(tmp_path):
    boxes = np.float32([[-50, 60, 40, 400], [400, 90, 500, 120]])
    answers = {"boxes": boxes, "labels": np.array([1, 1]), "scores": np.float32([0.9, 0.9])}
    assert found(answering(tmp_path / "d.onnx", [1, 3, 320, 320], **answers))[0] == [[0, 0, 50, 200]]


def test_frames_are_shown_whole():
    frame = np.full((100, 50, 3), 200, np.uint8)
    seen = fit(frame, (64, 64), letterbox=True)
    assert (
        seen.pixels.shape == (64, 64, 3) and (seen.pixels[:, 16:48] == 200).all() and (seen.pixels[:, :16] == 114).all()
    )
    assert seen.back(np.array([[16.0, 0, 48, 64]])).round().tolist() == [[0, 0, 50, 100]]
    seen = fit(frame, (64, 64), letterbox=False)
    assert (seen.pixels == 200).all() and seen.back(np.array([[0.0, 0, 64, 64]])).round().tolist() == [[0, 0, 50, 100]]


def test_suppression_keeps_the_surer_of_two_that_overlap():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [5, 0, 15, 10], [50, 0, 60, 10]], float)
    assert suppressed(boxes, np.array([0.5, 0.9, 0.4, 0.3])) == [1, 2, 3]
    assert suppressed(np.zeros((0, 4)), np.zeros(0)) == []


def test_what_is_no_detector(tmp_path):
    (tmp_path / "text.onnx").write_text("weights")
    with pytest.raises(InputError, match="--detector .*text.onnx: cannot be read as ONNX"):
        load_detector(str(tmp_path / "text.onnx"))
    with pytest.raises(InputError, match="--detector nowhere.onnx: no such file"):
        load_detector("nowhere.onnx")
    path = answering(tmp_path / "other.onnx", [1, 3, 64, 64], heat=np.zeros((1, 8, 16, 16), np.float32))
    with pytest.raises(InputError) as error:
        load_detector(str(path))
    for words in ("inputs image (1 x 3 x 64 x 64) and outputs heat (1 x 8 x 16 x 16)", "yolo: ", "detr: ", "boxes: "):
        assert words in str(error.value)


def test_a_size_that_the_graph_does_not_take(tmp_path):
    path = answering(tmp_path / "d.onnx", [1, 3, 320, 320], output0=np.zeros((1, 6, 50), np.float32))
    with pytest.raises(InputError, match="--size 64x64: .* wants 320x320; leave it out"):
        load_detector(str(path), size=(64, 64))
    free = answering(tmp_path / "free.onnx", [1, 3, "h", "w"], output0=np.zeros((1, 6, 50), np.float32))
    assert load_detector(str(free), size=(64, 96)).size == (64, 96) and load_detector(str(free)).size == (640, 640)
