"""Plots of weights, gradients and clusters: what is drawn, what is said in words, what is left out."""

import base64
from xml.etree import ElementTree

import pytest

from vreid_fast.report import panels


def row(step, **more):
    return {"stage": "source" if step < 30 else "adapt", "step": step, "loss": 1.0, "losses": {}, **more}


def drawn(image: str) -> str:
    """The text in a plot."""
    root = ElementTree.fromstring(base64.b64decode(image.split(",")[1]))
    return " ".join(node.text for node in root.iter() if node.tag.endswith("text") and node.text)


def test_changing_weights_are_drawn_and_constant_ones_are_told():
    rows = [row(step, weights={"cross_entropy": 1.0, "l1c": 0.01 * step, "l1s": 0.5}) for step in (10, 20, 30, 40)]
    found = panels.weights(rows)
    assert found["constant"] == "cross-entropy 1, L1S 0.5"
    assert "L1C" in drawn(found["plot"]["image"]) and "L1S" not in drawn(found["plot"]["image"])
    assert "L1C 0.4" in found["plot"]["alt"]


def test_constant_weights_need_no_plot(write):
    page = write(history=[row(step, weights={"triplet": 1.0}) for step in (10, 20)])
    assert "Constant: triplet 1." in page.text
    assert not any("Weights" in image["alt"] for image in page.all("img"))


def test_terms_that_pull_at_nothing_are_named():
    norms = ({"l1s": 0.0, "triplet": 2.0}, {"l1s": 0.0, "triplet": 1e-3, "l2c": 1e-5}, {"l1s": 0.0, "triplet": 0.0})
    rows = [row(10 * step, gradient_norms=found) for step, found in enumerate(norms, 1)]
    found = panels.gradient_norms([*rows, row(40)])
    assert found["silent"] == "L1S"
    assert {"triplet", "L2C"} <= set(drawn(found["plot"]["image"]).split())
    assert panels.gradient_norms([row(10, gradient_norms={"l1s": 0.0})]) == {"silent": "L1S", "plot": {}}


def test_without_weights_or_gradients_there_is_no_section(write):
    page = write(history=[row(10), row(20, weights={}, gradient_norms={})])
    assert "Weights and gradients" not in page.text and "Clusters over training" not in page.text


@pytest.mark.parametrize("cameras", [True, False])
def test_clusters_are_shown_once(write, cameras):
    facts = {"clusters": 12.0, "cluster_size_smallest": 1.0, "cluster_size_median": 4.5, "cluster_size_largest": 30.0}
    facts |= {"cameras_per_cluster": 1.5} if cameras else {}
    facts |= {"outliers": 9.0, "pairs_kept": 0.75, "unseen_pair_precision": 0.5} if cameras else {}
    page = write(history=[row(step, disagreement=0.2, **facts) for step in (30, 40)])
    assert "Tracklets in a cluster 1 · 4.5 · 30" in page.text and "Clusters that are used 12" in page.text
    assert ("Cameras in a cluster, mean 1.5" in page.text) == cameras
    assert "Student and teacher disagree (eq. 14) 0.2" in page.text
    if cameras:
        assert "Tracklets in no cluster 9" in page.text and "Pairs kept from the pass before 0.75" in page.text
        assert "Pairs that are one person (labels unseen by training) 0.5" in page.text
    assert len(page.all("img")) == 1 + 2 + 4 * cameras + 1  # the loss, clusters, disagreement


def test_known_names_have_words(write):
    losses = {"info_nce": 1.0, "proxy_contrast": 2.0}
    page = write(history=[row(step) | {"losses": losses, "reversal": 0.5, "ema_decay": 0.9} for step in (30, 40)])
    for wanted in ("InfoNCE, frames of a person", "proxy contrast", "Gradient reversal", "Decay of the teacher"):
        assert wanted in page.text
