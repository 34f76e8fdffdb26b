"""From an experiment to its run: the training loop, predictions, runs kept and found, many at once, fused decisions."""
