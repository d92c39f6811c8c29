"""Which clips make a batch, decided before anything is read."""
