"""From a folder of tracklets to a search: learn from rendered people, adapt to your cameras, rank one query.

Without --data the script makes a folder up: rendered people whom three cameras saw twice each, and for a source other
people before other cameras. Its `tracklets.csv` gives identities; they score the network, training never reads them.
After a short training with `--method plus` the mAP on the people it adapted to is far above that before adaptation.

    python examples/adapt_to_my_cameras.py     # half a minute on two cores
    python examples/adapt_to_my_cameras.py --data /data/my_cameras     # some minutes

The second line is for a folder of your own: docs/own-data.md says how it looks, labels are not needed. It learns from
the package's synthetic people, with the default knobs of training. Words that the script does not know go to
`python -m vreid_fast.train`, as `--adapt_steps 1000` does.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

from search import main as search

from vreid_fast.data.synthetic.walk import film
from vreid_fast.train import main as train

SHORT = ["--source_steps", "60", "--adapt_steps", "40", "--people", "4", "--target_batch", "8", "--threads", "1"]
"""Knobs of a training that shows no more than the way."""


def make_cameras(folder: Path, style: str, people: int, cameras: int = 3) -> Path:
    """Render people who walk past each camera twice: a folder of JPEG images a tracklet, and the table of them all."""
    rows = []
    for person in range(people):
        for camera in range(cameras):
            for visit in range(2):
                path = Path(f"camera{camera}", f"person{person}_visit{visit}")
                (folder / path).mkdir(parents=True, exist_ok=True)
                for number, jpeg in enumerate(film(style, 0, person, camera, visit)):
                    (folder / path / f"{number:04}.jpg").write_bytes(jpeg)
                rows.append([path, person, camera])
    with open(folder / "tracklets.csv", "w", newline="") as table:
        csv.writer(table).writerows([["path", "identity", "camera"], *rows])
    return folder


def main(argv: list[str] | None = None) -> dict:
    """mAP before and after adaptation where the data has labels to score it with, the query, and its ranking."""
    parser = argparse.ArgumentParser(description="Adapt to a folder of tracklets, then search it.", allow_abbrev=False)
    parser.add_argument("--data", type=Path, help="folder of tracklets; made up where it is left out")
    parser.add_argument("--out", type=Path, default="runs/my_cameras", help="where all that is written goes")
    parser.add_argument("--walkers", type=int, default=16, help="how many people to make up")
    parser.add_argument("--query", default="0", help="which query to rank the others for")
    arguments, more = parser.parse_known_args(argv)

    target, words, run = arguments.data, ["--method", "plus"], arguments.out / "run"
    if target is None:
        target = make_cameras(arguments.out / "target", "real", arguments.walkers)
        source = make_cameras(arguments.out / "source", "source", arguments.walkers * 3 // 2)
        words += ["--source", f"folder:{source}", *SHORT]
    code = train([*words, *more, "--target", f"folder:{target}", "--run", str(run)])
    if code:
        sys.exit(code)

    scores = json.loads((run / "result.json").read_text())
    found = {f"{when} adaptation": scores.get(name) for when, name in (("before", "source"), ("after", "student"))}
    found = {name: score["map"] for name, score in found.items() if score}
    for name, score in found.items():
        print(f"mAP {name}: {score:.1%}")
    words = ["--checkpoint", str(run / "last.pt"), "--data", f"folder:{target}"]
    query, ranking = search([*words, "--query", arguments.query, "--top", "5"])
    return {**found, "query": query, "ranking": ranking}


if __name__ == "__main__":
    main()
