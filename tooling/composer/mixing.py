"""Mixing of the synthetic corpora: loops, an amplifier, a room, an equaliser, loudness; sounds as in `instruments`."""

from functools import cache

import numpy as np
import scipy

from composer.instruments import RATE


def place(loop: np.ndarray, at: int, sound: np.ndarray, gain: float) -> None:
    """Add a mono sound to a mono loop in place, from sample ``at`` on; what passes the end goes on at the beginning."""
    sound, at = sound[: len(loop)], at % len(loop)
    head = min(len(sound), len(loop) - at)
    loop[at : at + head] += gain * sound[:head]
    loop[: len(sound) - head] += gain * sound[head:]


def distort(loop: np.ndarray, drive: float) -> np.ndarray:
    """An overdriven amplifier and its loudspeaker, (samples,) to (samples,): tanh, then a low-pass at 5 kHz."""
    level = rms(loop)
    bent = np.tanh(loop * np.float32(drive / level))
    return scipy.signal.sosfilt(_lowpass(5000), bent) * np.float32(level)


@cache
def _lowpass(cutoff: float) -> np.ndarray:
    return scipy.signal.butter(2, cutoff, fs=RATE, output="sos").astype(np.float32)


def echoes(loop: np.ndarray, amount: float, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """A room: six decaying reflections each side, the same length as the loop that they wrap round.

    Returns:
        (2, samples): the loop itself and its reflections, which differ between the sides.
    """
    wet = np.stack([loop, loop])
    for side in wet:
        for delay in seconds * rng.uniform(0.05, 1, 6):
            gain = np.float32(amount * np.exp(-2 * delay / seconds))
            shift = int(delay * RATE) % len(loop)
            side[shift:] += gain * loop[: len(loop) - shift]
            side[:shift] += gain * loop[len(loop) - shift :]
    return wet


def rms(sound: np.ndarray) -> float:
    """Root mean square of an array, never quite 0."""
    flat = sound.reshape(-1)
    return float(np.sqrt(np.dot(flat, flat) / len(flat))) + 1e-9


def colour(stereo: np.ndarray, decibels: float, centre: float, gain: float) -> np.ndarray:
    """An equaliser: tilts the spectrum about 1 kHz, and lifts or lowers an octave or two of it.

    Args:
        stereo: (2, samples).
        decibels: added to what is high, taken from what is low.
        centre: of the band, in Hz.
        gain: of the band, in dB (R. Bristow-Johnson, "Audio EQ Cookbook", peaking filter with Q = 1).

    Returns:
        (2, samples) float32.
    """
    pole, high = np.exp(-2 * np.pi * 1000 / RATE), 10 ** (decibels / 20)
    shelf = [high + (1 - pole) * (1 / high - high), -high * pole, 0, 1, -pole, 0]
    amplitude, turn = 10 ** (gain / 40), 2 * np.pi * centre / RATE
    up, down = np.sin(turn) / 2 * amplitude, np.sin(turn) / 2 / amplitude
    bell = np.array([1 + up, -2 * np.cos(turn), 1 - up, 1 + down, -2 * np.cos(turn), 1 - down]) / (1 + down)
    return scipy.signal.sosfilt(np.float32([shelf, bell]), stereo)


def master(stereo: np.ndarray, loudness: float) -> np.ndarray:
    """Bring to so many dBFS RMS, peaks rounded off by tanh to less than 0.98; (2, samples), in place."""
    stereo *= np.float32(10 ** (loudness / 20) / rms(stereo))
    np.tanh(stereo, out=stereo)
    stereo *= np.float32(0.98)
    return stereo
