"""Who looks like this person: an index of features, and questions to it."""
