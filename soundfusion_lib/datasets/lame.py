"""MP3s through lameenc: several times as fast as libsndfile writes them, and always the same bytes."""

import lameenc
import numpy as np


def encode_mp3(samples: np.ndarray, rate: int, kilobits: int = 128) -> bytes:
    """Samples (time,) or (time, 2), full scale at +-1, at `rate` Hz -> MP3."""
    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_bit_rate(kilobits)
    encoder.set_in_sample_rate(rate)
    encoder.set_channels(1 if samples.ndim == 1 else 2)
    encoder.set_quality(7)
    pcm = np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2")
    return bytes(encoder.encode(pcm.tobytes())) + bytes(encoder.flush())
