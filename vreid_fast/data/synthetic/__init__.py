"""The embedded data sets: generated people who walk past generated cameras.

`source` is clean and meant to be trained on with labels. The others are meant to be adapted to: `real`
shows other people through other, worse cameras in a busier street; in `alike` the cameras are as bad, but
hardly differ from each other; `pair` is `real` as iLIDS-VID and PRID have it, two cameras, one tracklet of
each person to be found in the other. Words behind a style, as in `real+outfits`, change who is seen how often
and in what, see `WORDS`. A seed fixes people, cameras and every frame.
"""

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import parent_process
from pathlib import Path
from threading import Thread

from vreid_fast.errors import InputError
from vreid_fast.terminal import progress_bar

from ..tracklets import Dataset, FramePaths, Tracklet
from .cache import cache_folder, cached_tree
from .rows import WORDS, Row, rows_of, seen_at
from .style import STYLES
from .walk import FRAMES, film

VERSION = 1  # of the generator: what it draws for a seed
FRAME_NAMES = tuple(f"F{frame:03d}.jpg" for frame in range(1, FRAMES + 1))


def read_synthetic(
    style: str = "source", seed: int = 0, cache: str | os.PathLike | None = None, people: int | None = None
) -> Dataset:
    """The embedded data set `style` ("source", "real", "alike" or "pair") of `seed`, rendered on first use.

    style: with words of `WORDS` behind it, each after a "+".
    cache: folder for the rendered frames; $XDG_CACHE_HOME/vreid_fast or ~/.cache/vreid_fast by default.
    people: number of identities in .train instead of the style's own; test identities in proportion.
    Every subset's identities are disjoint from every other's and from those of the other style. The
    query is one tracklet of each test person and camera, the gallery every test tracklet; of "pair" the query
    is one tracklet of camera 1, the gallery one of camera 2.

    Raises InputError for an unknown style or word, a seed or number of people out of range, or a cache that
    cannot be written.
    """
    whole = style
    style, *words = style.split("+")
    if style == "pair":
        return _pair(whole, read_synthetic("+".join(("real", *words)), seed, cache, people))
    if style not in STYLES:
        raise InputError(f"synthetic:{whole}: unknown style; styles are {', '.join(STYLES)}, pair")
    for word in words:
        if word not in WORDS or words.count(word) > 1:
            why = f"{word!r} is there twice" if word in WORDS else f"unknown word {word!r}"
            raise InputError(
                f"synthetic:{whole}: {why}; each of {', '.join(WORDS)} may follow once, as in {style}+outfits"
            )
    if seed < 0:
        raise InputError(f"synthetic_seed must be 0 or more, got {seed}")
    if people is not None and people < 2:
        raise InputError(f"synthetic people must be 2 or more, got {people}")
    if {"single", "six"} <= set(words):
        raise InputError(f"synthetic:{whole}: single and six contradict each other; leave one out")
    rows = rows_of(STYLES[style], people, words)
    trained = people or STYLES[style].people
    kind = "+".join((style, *sorted(set(words) - {"timed"})))  # the pictures are the same
    seen = seen_at(rows, seed) if "timed" in words else {}
    folder = cache_folder(cache) / f"synthetic-{kind}-seed{seed}-people{trained}-v{VERSION}"
    cached_tree(folder, rows, lambda building: _render(building, style, seed, rows))

    subsets: dict[str, list[Tracklet]] = {"train": [], "query": [], "gallery": []}
    for row in rows:
        frames = FramePaths(folder / row.path, FRAME_NAMES)
        tracklet = Tracklet(
            frames, identity=row.identity, camera=row.camera, clothes=row.clothes, sighting=seen.get(row.path)
        )
        for subset in row.split.split("|"):
            subsets[subset].append(tracklet)
    return Dataset("synthetic" if whole == "source" else f"synthetic:{whole}", **subsets)


def _pair(style: str, data: Dataset) -> Dataset:
    """The first two cameras of a data set: query from camera 1, gallery from camera 2, a tracklet a person."""
    first = {id(tracklet) for tracklet in data.query}  # of each test person and camera
    return Dataset(
        f"synthetic:{style}",
        train=[tracklet for tracklet in data.train if tracklet.camera <= 2],
        query=[tracklet for tracklet in data.query if tracklet.camera == 1],
        gallery=[tracklet for tracklet in data.gallery if tracklet.camera == 2 and id(tracklet) in first],
    )


def _render(folder: Path, style: str, seed: int, rows: list[Row]) -> None:
    """Write every tracklet below `folder`, on as many processes as there are processors."""
    processes = min(os.cpu_count() or 1, len(rows))
    progress = {"total": len(rows), "desc": f"rendering synthetic:{style}", "unit": "tracklet", "disable": None}
    jobs = (repeat(folder), repeat(style), repeat(seed), rows)
    if processes == 1:
        for _ in progress_bar(map(_write_tracklet, *jobs), **progress):
            pass
        return
    with ProcessPoolExecutor(processes, initializer=_end_with_parent) as pool:
        try:
            for _ in progress_bar(pool.map(_write_tracklet, *jobs, chunksize=4), **progress):
                pass
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _end_with_parent() -> None:
    """Let a worker end when its parent is killed; it would wait for work for ever. Ctrl-C is the parent's matter."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def wait() -> None:
        parent_process().join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _write_tracklet(folder: Path, style: str, seed: int, row: Row) -> None:
    tracklet, outfit = int(row.path.rpartition("T")[2]), (row.clothes or 1) - 1
    (folder / row.path).mkdir()
    files = film(style, seed, row.identity, row.camera - 1, tracklet, outfit)
    if row.then is not None:
        half = FRAMES // 2
        files[half:] = film(style, seed, row.then, row.camera - 1, tracklet)[half:]
    for name, file in zip(FRAME_NAMES, files):
        (folder / row.path / name).write_bytes(file)
