"""What the pages take for granted: a run on one's own cameras, and its features, small and made once."""

import pytest
from small_runs import flags, write_people

from vreid_fast.extract import main as extract
from vreid_fast.train import main as train


@pytest.fixture(scope="session")
def story(tmp_path_factory):
    """A folder with `my_cameras`, `runs/mine` and `features`, as the commands of the pages leave them."""
    home = tmp_path_factory.mktemp("story")
    data = {name: f"folder:{write_people(home / name, seed)}" for seed, name in enumerate(("source", "my_cameras"))}
    run = home / "runs" / "mine"
    assert train(flags({"source": data["source"], "target": data["my_cameras"]}, run, method="plus")) == 0
    words = ["--checkpoint", f"{run}/last.pt", "--data", data["my_cameras"], "--out", str(home / "features")]
    assert extract(words) == 0
    return home
