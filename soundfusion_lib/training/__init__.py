"""From an experiment to its run: the training loop, predictions, runs kept and found again, many at once, fused
decisions.

May import corpora, signals, models and what stands beside the rooms.
"""
