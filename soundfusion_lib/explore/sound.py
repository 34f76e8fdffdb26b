"""What is heard of a track."""

import numpy as np

from soundfusion_lib.audio.decode import decode, encode_mp3, resample, to_channels
from soundfusion_lib.datasets.corpus import Corpus

RATE = 44_100  # Hz
BYTES = 500_000  # Jupyter drops what is sent where that is more than 3 MB within 3 s: longer clips get fewer bits
LEAST, MOST = 32, 128  # kbit/s
LONGEST = 300  # s


def sound(corpus: Corpus, track: str) -> bytes:
    """What the study uses of a track's file, at most five minutes, as MP3, mono or stereo; raises UnusableAudio if it
    can be read no more."""
    samples, rate = decode(corpus.file(track), min(LONGEST if corpus.seconds is None else corpus.seconds, LONGEST))
    samples = resample(to_channels(samples, min(2, samples.shape[1])), rate, RATE)
    kilobits = int(np.clip(8 * BYTES / 1000 / (len(samples) / RATE), LEAST, MOST))
    return encode_mp3(samples.squeeze(1) if samples.shape[1] == 1 else samples, RATE, kilobits)
