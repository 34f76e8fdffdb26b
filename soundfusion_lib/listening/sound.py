"""What is heard of a track."""

from soundfusion_lib.audio import decode, encode_mp3, resample, to_channels
from soundfusion_lib.corpora.corpus import Corpus

RATE = 44_100  # Hz


def sound(corpus: Corpus, track: str) -> bytes:
    """What the study uses of a track's file, as MP3, mono or stereo; raises UnusableAudio if it can be read no more."""
    samples, rate = decode(corpus.file(track))
    if corpus.seconds is not None:
        samples = samples[: int(corpus.seconds * rate)]
    samples = resample(to_channels(samples, min(2, samples.shape[1])), rate, RATE)
    return encode_mp3(samples.squeeze(1) if samples.shape[1] == 1 else samples, RATE)
