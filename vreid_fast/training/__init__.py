"""What happens in a run: from its knobs to the parts, its steps, its state, its results."""
