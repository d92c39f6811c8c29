import numpy as np

from vreid_fast.data.sampling.augment import NO_AUGMENTATION, Augmentation, draw_augmentation


def draws(number=4000, **knobs):
    rng = np.random.default_rng(0)
    return [draw_augmentation(rng, 64, 32, **knobs) for _ in range(number)]


def test_nothing_is_done_at_zero_chances():
    assert set(draws(50, flip=0, pad=0, erase=0)) == {NO_AUGMENTATION}


def test_chances_and_ranges():
    all_draws = draws(flip=0.5, pad=4, erase=0.3)
    assert 0.46 < np.mean([a.flip for a in all_draws]) < 0.54
    for axis in (0, 1):
        assert {a.crop[axis] for a in all_draws} == set(range(9))
    assert {a.pad for a in all_draws} == {4}
    erased = [a.erase for a in all_draws if a.erase[2]]
    assert 0.26 < len(erased) / len(all_draws) < 0.34
    top, left, height, width = np.array(erased).T
    assert (top >= 0).all() and (left >= 0).all() and (top + height <= 64).all() and (left + width <= 32).all()
    # Rounding to pixels may leave the ranges by a little.
    area, aspect = height * width / (64 * 32), height / width
    assert area.min() > 0.012 and 0.35 < area.max() < 0.42
    assert aspect.min() > 0.25 and aspect.max() < 4


def test_the_generator_decides_alone():
    assert draws(20, pad=3) == draws(20, pad=3)


def test_a_shape_too_thin_to_erase_is_left_whole():
    assert draw_augmentation(np.random.default_rng(0), 1, 100, flip=0, erase=1) == Augmentation()
