"""From a file of music to a network's input: decoding, representations, the store of decoded clips, segments,
augmentation.

May import corpora and what stands beside the rooms (errors, paths, device, processes, checks, audio).
"""
