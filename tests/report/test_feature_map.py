"""The map of source and target clips, and the number that says how far apart they are."""

import base64
from xml.etree import ElementTree

import numpy as np
import pytest

from vreid_fast.report.feature_map import CAMERAS, SOURCE, domain_accuracy, embed_2d, legend, map_plot

DOMAINS = np.arange(60) % 2


def clips(gap: float) -> np.ndarray:
    """Features of three people, those of the target moved by `gap`."""
    rng = np.random.default_rng(0)
    people = rng.normal(size=(3, 8))[np.arange(60) % 3] + 0.1 * rng.normal(size=(60, 8))
    return people + gap * DOMAINS[:, None]


def test_the_same_features_give_the_same_map_and_neighbours_stay():
    features = clips(0.0)
    points = embed_2d(features)
    assert points.shape == (60, 2) and np.isfinite(points).all()
    assert np.array_equal(points, embed_2d(features))
    assert np.array_equal(points, embed_2d(8 * features))  # length says nothing
    distances = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(60, np.inf))
    assert (distances.argmin(1) % 3 == np.arange(60) % 3).all()


@pytest.mark.parametrize("count", [3, 4, 7])
def test_few_clips_can_be_mapped_too(count):
    assert np.isfinite(embed_2d(np.random.default_rng(0).normal(size=(count, 5)))).all()


def test_what_cannot_be_mapped():
    with pytest.raises(ValueError, match="wanted 3 features or more, got 2"):
        embed_2d(np.ones((2, 4)))
    with pytest.raises(ValueError, match="not finite"):
        embed_2d(np.full((5, 4), np.nan))


def test_domains_that_are_far_apart_are_told_and_mixed_ones_are_not():
    assert domain_accuracy(clips(3.0), DOMAINS) == 1.0
    assert 0.2 < domain_accuracy(clips(0.0), DOMAINS) < 0.8


def test_a_rare_domain_counts_as_much_as_the_other():
    features, domains = np.ones((60, 4)), (np.arange(60) >= 50).astype(int)
    assert domain_accuracy(features, domains) == 0.5  # always the common one: right on one domain in two
    assert domain_accuracy(features, np.arange(60) // 59) is None


def test_the_legend_shows_what_is_drawn():
    points = np.random.default_rng(0).normal(size=(60, 2))

    def colours(cameras):
        svg = base64.b64decode(map_plot(points, DOMAINS, cameras).split(",")[1]).decode()
        ElementTree.fromstring(svg)
        return {colour for *_, colour in (SOURCE, *CAMERAS) if colour in svg}

    for cameras, names in (
        (np.where(DOMAINS, np.arange(60) // 20 + 4, -1), ["source", *(f"target, camera {n}" for n in (4, 5, 6))]),
        (np.full(60, -1), ["source", "target"]),
        (np.arange(60), ["source", "target"]),  # too many cameras to tell
        (np.full(60, 2), ["source", "target"]),
    ):
        signs = legend(DOMAINS, cameras)
        assert [sign["name"] for sign in signs] == names
        assert {sign["colour"] for sign in signs} == colours(cameras)
        assert len({sign["sign"] for sign in signs}) == len(signs)


def test_the_section_of_the_report(write):
    given = {"before": clips(3.0), "after": clips(0.0), "domains": DOMAINS, "cameras": np.full(60, -1)}
    page = write(feature_map=given)
    assert "Before adaptation domains told apart: 100 %" in page.text and "60 clips, placed" in page.text
    assert sum("map of clips" in image["alt"] for image in page.all("img")) == 2
    page = write(feature_map=given | {"after": np.full((60, 8), np.nan)})
    assert "No map of clips: a feature is not finite." in page.text and page.all("img") == []
