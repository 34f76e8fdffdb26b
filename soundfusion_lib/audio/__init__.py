"""From a file of music to a network's input: decoding, representations, the store, segments, augmentation."""
