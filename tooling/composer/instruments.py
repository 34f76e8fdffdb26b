"""Instruments and drums of the synthetic corpora: NumPy and SciPy only, no state, everything seeded by the
caller.

Sounds are float32 arrays at RATE; a mono sound has shape (samples,), a stereo one (2, samples). Three ways of making a
note:

- additive synthesis, harmonic k with amplitude k ** -slope, from one period looked up in a table;
- plucked strings: K. Karplus, A. Strong, "Digital Synthesis of Plucked-String and Drum Timbres", Computer Music Journal
7(2), 1983;
- frequency modulation: J. Chowning, "The Synthesis of Complex Audio Spectra by Means of Frequency Modulation", JAES
21(7), 1973.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy  # scipy.signal takes seconds to import, and is when it is first used

RATE = 44_100  # Hz
TABLE = 4096  # samples of one period in a wave table


@dataclass(frozen=True)
class Additive:
    """A sustained sound. Formants are (Hz, Hz wide) and shape the harmonics as a throat does."""

    slope: float
    even: float = 1.0  # level of the even harmonics
    attack: float = 0.01  # s
    decay: float = 1e3  # s to fall to 1/e
    vibrato: float = 0.0  # depth, as a fraction of the frequency
    detune: float = 0.0  # of a second oscillator, as a fraction of the frequency
    breath: float = 0.0  # level of noise
    formants: tuple = ()


@dataclass(frozen=True)
class Plucked:
    """A string: slope of the harmonics it is plucked with, seconds its fundamental rings, how fast the others die."""

    slope: float
    decay: float
    damping: float = 1.0  # 1: Karplus and Strong's average of two neighbours


@dataclass(frozen=True)
class Modulated:
    """A carrier whose phase a second oscillator moves."""

    ratio: float  # frequency of the modulator over that of the carrier
    index: float  # radians at the onset
    decay: float  # s; the index falls twice as fast
    attack: float = 0.004


@dataclass(frozen=True)
class Drum:
    """A decaying sine whose pitch falls, and a burst of noise in a band."""

    frequency: float = 0.0  # Hz at the end of the fall; 0: noise alone
    fall: float = 0.0  # how far above it starts, as a fraction
    ring: float = 0.1  # s to 1/e
    noise: float = 0.0
    burst: float = 0.05  # s to 1/e
    band: tuple = (200, 8000)  # Hz


VOWELS = {"voice": ((650, 200), (1100, 250), (2700, 500)), "rap": ((500, 180), (1600, 350), (2500, 500))}

INSTRUMENTS = {
    "organ": Additive(0.7, even=0.6, attack=0.02, vibrato=0.003),
    "accordion": Additive(0.8, even=0.8, attack=0.04, detune=0.006),
    "pad": Additive(1.5, attack=0.25, detune=0.005),
    "strings": Additive(1.1, attack=0.15, vibrato=0.004, detune=0.003),
    "fiddle": Additive(0.9, attack=0.06, vibrato=0.007),
    "flute": Additive(2.2, even=0.5, attack=0.06, vibrato=0.005, breath=0.05),
    "brass": Additive(0.8, attack=0.04, decay=0.9, vibrato=0.003),
    "voice": Additive(0.6, attack=0.05, vibrato=0.012, breath=0.02, formants=VOWELS["voice"]),
    "rap": Additive(0.5, attack=0.01, decay=0.12, breath=0.25, formants=VOWELS["rap"]),
    "saw": Additive(1.0, attack=0.005, decay=0.5, detune=0.006),
    "square": Additive(1.0, even=0.0, attack=0.005, decay=0.4),
    "synthbass": Additive(1.1, attack=0.005, decay=0.25),
    "subbass": Additive(3.0, attack=0.01, decay=0.7),
    "guitar": Plucked(0.8, 0.9, 0.25),
    "nylon": Plucked(1.6, 0.6, 0.5),
    "electric": Plucked(0.9, 2.0, 0.1),
    "banjo": Plucked(0.4, 0.25, 0.4),
    "sitar": Plucked(0.2, 1.4, 0.03),
    "piano": Plucked(1.5, 1.2, 0.15),
    "bass": Plucked(1.3, 0.8, 0.15),
    "doublebass": Plucked(2.0, 0.5, 0.5),
    "keys": Modulated(1.0, 1.2, 0.9),
    "bell": Modulated(3.5, 2.5, 1.2),
    "metal": Modulated(1.41, 7.0, 2.0, attack=0.05),
    "fmbass": Modulated(0.5, 4.0, 0.3),
}

KITS = {
    "acoustic": {
        "kick": Drum(60, 1.5, 0.09, noise=0.1, burst=0.01),
        "snare": Drum(190, 0.3, 0.07, noise=0.8, burst=0.09, band=(900, 9000)),
        "hat": Drum(noise=0.5, burst=0.035, band=(6000, 16000)),
        "ride": Drum(noise=0.35, burst=0.25, band=(5000, 14000)),
    },
    "machine": {
        "kick": Drum(50, 4.0, 0.16, noise=0.15, burst=0.004),
        "snare": Drum(noise=1.0, burst=0.07, band=(1000, 5000)),
        "hat": Drum(noise=0.6, burst=0.025, band=(8000, 19000)),
        "ride": Drum(noise=0.5, burst=0.12, band=(8000, 19000)),
    },
    "808": {
        "kick": Drum(45, 2.0, 0.35),
        "snare": Drum(180, 0.2, 0.05, noise=0.9, burst=0.13, band=(1500, 9000)),
        "hat": Drum(noise=0.5, burst=0.018, band=(7000, 17000)),
        "ride": Drum(560, 0.0, 0.05, noise=0.2, burst=0.05, band=(5000, 12000)),
    },
    "hand": {
        "kick": Drum(95, 0.4, 0.12, noise=0.1, burst=0.01),
        "snare": Drum(240, 0.3, 0.08, noise=0.25, burst=0.02, band=(800, 4000)),
        "hat": Drum(noise=0.35, burst=0.03, band=(3500, 11000)),
        "ride": Drum(330, 0.2, 0.07, noise=0.1, burst=0.02, band=(1000, 5000)),
    },
}


@cache
def _bandpass(low: float, high: float) -> np.ndarray:
    return scipy.signal.butter(1, (low, high), "bandpass", fs=RATE, output="sos").astype(np.float32)


def _table(frequency: float, instrument: Additive, brightness: float) -> np.ndarray:
    """One period, band-limited to 16 kHz."""
    k = np.arange(1, max(2, min(64, int(16_000 / frequency))))
    amplitude = k ** -(instrument.slope - brightness)
    amplitude[1::2] *= instrument.even
    if instrument.formants:
        distance = [(k * frequency - centre) / width for centre, width in instrument.formants]
        amplitude *= 0.05 + np.exp(-0.5 * np.square(distance)).sum(0)
    spectrum = np.zeros(TABLE // 2 + 1, complex)
    spectrum[k] = -1j * amplitude * np.exp(1j * 0.5 * k * k)  # spread phases, or a saw is all peak
    wave = np.fft.irfft(spectrum)
    return (wave / np.sqrt(np.mean(wave**2))).astype(np.float32)


def _additive(instrument: Additive, frequency: float, count: int, brightness: float, rng) -> np.ndarray:
    time = np.arange(count, dtype=np.float32) / RATE
    cycles = frequency * time
    if instrument.vibrato:
        cycles += instrument.vibrato * frequency / (2 * np.pi * 5.5) * np.sin(2 * np.pi * 5.5 * time)
    table = _table(frequency, instrument, brightness)
    sound = table[(cycles * TABLE).astype(np.int32) & (TABLE - 1)]
    if instrument.detune:
        sound = 0.7 * (sound + table[(cycles * (1 + instrument.detune) * TABLE).astype(np.int32) & (TABLE - 1)])
    if instrument.breath:
        sound = sound + 2 * instrument.breath * rng.standard_normal(count, np.float32)
    return sound * np.exp(-time / instrument.decay)


def _plucked(instrument: Plucked, frequency: float, count: int, brightness: float, rng) -> np.ndarray:
    """Karplus and Strong's loop in closed form: every trip round the string multiplies harmonic k by the loop filter's
    gain there, so that trip n is the inverse transform of start * gain ** n, all trips at once."""
    period = max(8, round(RATE / frequency))
    k = np.arange(period // 2 + 1)
    start = np.exp(2j * np.pi * rng.random(len(k))) * np.maximum(k, 1) ** -(instrument.slope - brightness)
    start[0] = 0
    loop = instrument.damping * np.log(np.maximum(np.cos(np.pi * k / period), 1e-6)) - period / (
        RATE * instrument.decay
    )
    trips = np.exp(np.arange(-(-count // period))[:, None] * loop.astype(np.float32))
    string = np.fft.irfft(start.astype(np.complex64) * trips, n=period).ravel()[:count]
    return string / np.sqrt(np.mean(string[:period] ** 2))


def _modulated(instrument: Modulated, frequency: float, count: int, brightness: float) -> np.ndarray:
    time = np.arange(count, dtype=np.float32) / RATE
    fade = np.exp(-time / instrument.decay)
    depth = instrument.index * (1 + brightness) * fade * fade
    turn = np.float32(2 * np.pi * frequency) * time
    return 1.4 * fade * np.sin(turn + depth * np.sin(instrument.ratio * turn))


def note(name: str, frequency: float, seconds: float, brightness: float, rng: np.random.Generator) -> np.ndarray:
    """One note of an instrument.

    Args:
        name: one of INSTRUMENTS.
        frequency: Hz.
        seconds: length, its fade-out of 15 ms included.
        brightness: -0.5 to 0.5, added to the slope of the spectrum.
        rng: for breath and the noise that a string starts with.

    Returns:
        (samples,) float32, about 1 RMS where it is loudest.
    """
    instrument = INSTRUMENTS[name]
    count = max(64, int(seconds * RATE))
    if isinstance(instrument, Plucked):
        sound, attack = _plucked(instrument, frequency, count, brightness, rng), 0.002
    elif isinstance(instrument, Modulated):
        sound, attack = _modulated(instrument, frequency, count, brightness), instrument.attack
    else:
        sound, attack = _additive(instrument, frequency, count, brightness, rng), instrument.attack
    sound = sound.astype(np.float32)
    rise, fall = min(count // 2, int(attack * RATE)), min(count // 2, int(0.015 * RATE))
    sound[:rise] *= np.linspace(0, 1, rise, dtype=np.float32)
    sound[count - fall :] *= np.linspace(1, 0, fall, dtype=np.float32)
    return sound


def drum(kit: str, name: str, tuning: float, rng: np.random.Generator) -> np.ndarray:
    """One hit.

    Args:
        kit, name: one of KITS, and a drum of it.
        tuning: factor on its frequency.
        rng: for the noise.

    Returns:
        (samples,) float32, peak about 1.
    """
    hit = KITS[kit][name]
    longest = max(hit.ring if hit.frequency else 0, hit.burst if hit.noise else 0)
    time = np.arange(int(5 * longest * RATE), dtype=np.float32) / RATE
    sound = np.zeros_like(time)
    if hit.frequency:
        cycles = hit.frequency * tuning * (time + hit.fall * 0.03 * (1 - np.exp(-time / 0.03)))
        sound += np.sin(2 * np.pi * cycles) * np.exp(-time / hit.ring)
    if hit.noise:
        burst = rng.standard_normal(len(time), np.float32) * np.exp(-time / hit.burst)
        sound += hit.noise * scipy.signal.sosfilt(_bandpass(*hit.band), burst)
    return sound
