"""MP3 by lameenc 1.9.0, so that the same samples give the same bytes. The project itself does not need lameenc."""

from importlib.metadata import PackageNotFoundError, version

import numpy as np

from soundfusion_lib.errors import SoundFusionError

LAMEENC = "1.9.0"


def require_lameenc() -> None:
    """Raise SoundFusionError unless lameenc is installed in the version that the recorded bytes are from."""
    try:
        installed = version("lameenc")
    except PackageNotFoundError:
        installed = "not installed"
    if installed != LAMEENC:
        raise SoundFusionError(f"this needs lameenc {LAMEENC} ({installed}): pip install lameenc=={LAMEENC}")


def encode_mp3(
    samples: np.ndarray, rate: int, kilobits: int = 128, quality: int = 7, out_rate: int | None = None
) -> bytes:
    """Encode samples, (time,) or (time, 2), full scale at +-1, at `rate` Hz.

    Args:
        kilobits: per second.
        quality: LAME's, from 0 (best and slowest) to 9.
        out_rate: of the MP3, in Hz; by default LAME chooses one for so many kilobits.
    """
    require_lameenc()
    import lameenc

    encoder = lameenc.Encoder()
    encoder.silence()
    encoder.set_bit_rate(kilobits)
    encoder.set_in_sample_rate(rate)
    if out_rate:
        encoder.set_out_sample_rate(out_rate)
    encoder.set_channels(1 if samples.ndim == 1 else 2)
    encoder.set_quality(quality)
    pcm = np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2")
    return bytes(encoder.encode(pcm.tobytes())) + bytes(encoder.flush())
