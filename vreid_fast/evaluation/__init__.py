"""From tracklets to scores: vectors, rankings, protocols."""
