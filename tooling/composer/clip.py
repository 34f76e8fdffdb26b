"""One clip of a synthetic corpus: an artist's sound as drums, bass, chords and lead, arranged and mixed."""

from dataclasses import replace

import numpy as np

from composer.genres import HABITS, Sound, draw_sound
from composer.instruments import RATE, drum, note
from composer.mixing import colour, distort, echoes, master, place, rms

UNUSUAL = 0.1  # how often a track departs from a habit of its artist
BARS = 4  # in the loop that a track repeats
FADE = 256  # samples between two sections
PRESENCE = (0.9, 0.9, 1.0, 0.75)  # of drums, bass, chords and lead in a section
SCALES = {  # semitones over the root
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
    "phrygian": (0, 1, 3, 5, 7, 8, 10),
    "harmonic": (0, 1, 4, 5, 7, 8, 11),
    "pentatonic": (0, 2, 4, 7, 9),
    "blues": (0, 3, 5, 6, 7, 10),
    "wholetone": (0, 2, 4, 6, 8, 10),
    "chromatic": (0, 1, 3, 4, 6, 7, 9, 10),
}
PROGRESSIONS = (
    (0, 4, 5, 3),
    (0, 3, 4, 0),
    (5, 3, 0, 4),
    (0, 0, 3, 4),
    (0, 5, 3, 4),
    (0, 6, 5, 4),
    (0, 0, 0, 0),
)  # a degree a bar

PATTERNS = {  # one bar of sixteenths, or of twelve where the beat has three parts
    "none": {"kick": "................"},
    "four": {"kick": "x...x...x...x...", "snare": "....x.......x...", "hat": "..x...x...x...x."},
    "breaks": {"kick": "x.x.......x.....", "snare": "....x..x.x..x...", "hat": "x.x.x.x.x.x.x.x."},
    "rock": {"kick": "x.......x.x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.x."},
    "punk": {"kick": "x..xx..xx..xx..x", "snare": "..x...x...x...x.", "ride": "x.x.x.x.x.x.x.x."},
    "metal": {"kick": "xxxxxxxxxxxxxxxx", "snare": "....x.......x...", "ride": "x...x...x...x..."},
    "boombap": {"kick": "x.....x...x.....", "snare": "....x.......x...", "hat": "x.x.x.x.x.x.x.xx"},
    "trap": {"kick": "x......x..x.....", "snare": "........x.......", "hat": "xxx.xxxxx.xxxxxx"},
    "train": {"kick": "x.......x.......", "snare": "..xx..xx..xx..xx", "hat": "x...x...x...x..."},
    "samba": {
        "kick": "x..xx..xx..xx..x",
        "snare": "..x..x.x..x..x.x",
        "hat": "xxxxxxxxxxxxxxxx",
        "ride": "x.x.xx.x.x.xx.x.",
    },
    "clave": {"kick": "...x..x....x..x.", "snare": "x..x..x...x.x...", "ride": "x.xx.xx.x.xx.x.x"},
    "onedrop": {"kick": "........x.......", "snare": "........x.......", "hat": "x..xx..xx..xx..x"},
    "sparse": {"kick": "x...............", "snare": "........x.......", "ride": "x...x...x...x..."},
    "waltz": {"kick": "x...........", "snare": "....x...x...", "hat": "x...x...x..."},
    "shuffle": {"kick": "x.....x.....", "snare": "...x.....x..", "hat": "x.xx.xx.xx.x"},
    "swing": {"kick": "x...........", "hat": "...x.....x..", "ride": "x..x.xx..x.x"},
    "scatter": {},  # drawn anew for each track
}
RHYTHMS = {  # onsets in a bar
    "held": "x...............",
    "half": "x.......x.......",
    "strum": "x...x.x...x.x.x.",
    "eighths": "x.x.x.x.x.x.x.x.",
    "offbeat": "..x...x...x...x.",
    "skank": "....x.......x...",
    "stab": "x.....x.....x...",
    "syncopated": "x.....x...x..x..",
    "arpeggio": "x.x.x.x.x.x.x.x.",
    "walking": "x..x..x..x..",
    "shuffled": "x.xx.xx.xx.x",
    "gallop": "x.xxx.xxx.xxx.xx",
}
SHORT = ("offbeat", "skank", "stab", "gallop")  # rhythms whose notes are cut off
MELODIES = {
    "sung": (0.35, 2),
    "busy": (0.55, 1),
    "sparse": (0.12, 1),
    "rapped": (0.75, 1),
}  # chance of an onset, every so many sixteenths


def _pitch(scale: tuple, degree: int) -> int:
    octave, step = divmod(degree, len(scale))
    return scale[step] + 12 * octave


def _drums(sound: Sound, bar: int, bars: int, rng) -> np.ndarray:
    kit, name = sound.drums.split("/")
    loop = np.zeros(bar, np.float32)
    pattern = PATTERNS[name]
    if name == "scatter":
        pattern = {
            voice: "".join(rng.choice(["x", "."], 16, p=[0.15, 0.85])) for voice in ("kick", "snare", "hat", "ride")
        }
    for voice, steps in pattern.items():
        hit = drum(kit, voice, sound.tuning, rng) if "x" in steps else None
        for step in np.flatnonzero(np.array(list(steps)) == "x"):
            place(loop, int(step / len(steps) * bar), hit, rng.uniform(0.7, 1.0))
    return np.tile(loop, bars)


def _play(length: int, instrument: str, events: list, brightness: float, rng) -> np.ndarray:
    """Events (first sample, seconds, MIDI pitch) on one instrument, as a loop of so many samples."""
    loop, notes = np.zeros(length, np.float32), {}
    for at, seconds, pitch in events:
        key = pitch, round(seconds, 2)
        if key not in notes:
            notes[key] = note(instrument, 440 * 2 ** ((pitch - 69) / 12), seconds, brightness, rng)
        place(loop, at, notes[key], 0.25 * rng.uniform(0.8, 1.0))
    return loop


def _accompany(
    part: str, tones: tuple, root: int, progression: tuple, sound: Sound, bar: int, bars: int, rng
) -> np.ndarray:
    """Chords or bass: the tones (degrees over the bar's) all at once, or in turn where the rhythm says so."""
    instrument, rhythm = part.split("/")
    if rhythm == "none":
        return np.zeros(bar * bars, np.float32)
    steps, scale, events = RHYTHMS[rhythm], SCALES[sound.scale], []
    onsets = [step for step, mark in enumerate(steps) if mark == "x"]
    for index in range(bars):
        for turn, (step, following) in enumerate(zip(onsets, onsets[1:] + [len(steps) + onsets[0]], strict=True)):
            seconds = (following - step) / len(steps) * bar / RATE
            if rhythm in SHORT:
                seconds = min(seconds, 0.15)
            chosen = (tones[turn % len(tones)],) if rhythm in ("arpeggio", "walking") else tones
            for order, tone in enumerate(chosen):
                at = int((index + step / len(steps)) * bar) + 350 * order  # no hand strikes all strings at once
                events.append((at, seconds, root + _pitch(scale, progression[index] + tone)))
    return _play(bar * bars, instrument, events, sound.brightness, rng)


def _melody(root: int, progression: tuple, sound: Sound, bar: int, bars: int, rng) -> np.ndarray:
    """A phrase of two bars, moved along with the chords."""
    instrument, manner = sound.lead.split("/")
    if manner == "none":
        return np.zeros(bar * bars, np.float32)
    chance, every = MELODIES[manner]
    onsets = [step for step in range(0, 32, every) if rng.random() < chance] or [0]
    degrees = np.cumsum(rng.integers(-2, 3, len(onsets))) % 9
    if manner == "rapped":
        degrees, root = degrees % 2, root - 12
    events = []
    for start in range(0, bars, 2):
        for step, following, degree in zip(onsets, onsets[1:] + [32 + onsets[0]], degrees, strict=False):
            seconds = min((following - step) / 16 * bar / RATE, 1.5)
            pitch = root + _pitch(SCALES[sound.scale], progression[start] + int(degree))
            events.append((int((start + step / 16) * bar), seconds, pitch))
    return _play(bar * bars, instrument, events, sound.brightness, rng)


def _arrange(stems: list, section: int, count: int, rng) -> np.ndarray:
    """Repeat the loops for so many samples; drums, bass and lead come and go with the sections, the chords stay."""
    mix = np.empty((2, count), np.float32)
    length, before = stems[0].shape[-1], np.zeros(len(stems), np.float32)
    start = -int(rng.integers(section))  # a clip begins anywhere in a piece
    position = 0
    while start < count:
        levels = np.float32(rng.random(len(stems)) < PRESENCE)
        part = np.zeros((2, section), np.float32)
        for stem, level, last in zip(stems, levels, before if start > 0 else levels, strict=False):
            piece = stem[..., position : position + section]
            if level:
                part += piece
            if level != last:
                part[:, :FADE] += (last - level) * np.linspace(1, 0, FADE, dtype=np.float32) * piece[..., :FADE]
        mix[:, max(0, start) : start + section] = part[:, max(0, -start) : count - start]
        start, position, before = start + section, (position + section) % length, levels
    return mix


def synthesise(genre: str, artist_seed, track_rng: np.random.Generator, seconds: float) -> np.ndarray:
    """One clip.

    Args:
        genre: a key of STYLES (FMA's names are capitalised, GTZAN's are not).
        artist_seed: anything that numpy.random.default_rng takes; the same seed is the same artist.
        track_rng: for all else; used up.
        seconds: length.

    Returns:
        (samples, 2) float32 at RATE (44,100 Hz), peak below 1.
    """
    artist, fresh = draw_sound(genre, np.random.default_rng(artist_seed)), draw_sound(genre, track_rng)
    unusual = {name: getattr(fresh, name) for name in HABITS if track_rng.random() < UNUSUAL}
    sound = replace(artist, **unusual)
    rng, count = track_rng, int(seconds * RATE)
    bar = int(4 * 60 / (sound.tempo * rng.uniform(0.96, 1.04)) * RATE)
    bars = BARS if BARS * bar <= count else 2
    root, progression = sound.key + int(rng.choice([0, 0, 2, -3])), PROGRESSIONS[rng.integers(len(PROGRESSIONS))]
    common = progression, sound, bar, bars, rng

    chords = _accompany(sound.chords, (0, 4, 7) if sound.drive > 1.5 else (0, 2, 4), root + 12, *common)
    if sound.drive > 0:
        chords = distort(chords, sound.drive)
    chords = echoes(chords, sound.room, 0.5, rng)
    chords[1] = np.roll(chords[1], int(sound.width * 0.012 * RATE))
    lead = echoes(_melody(root + 24, *common), sound.room, 0.7, rng)
    pan = rng.uniform(-0.5, 0.5) * sound.width
    lead *= np.array([[1 - pan], [1 + pan]], np.float32)
    stems = [_drums(sound, bar, bars, rng), _accompany(sound.bass, (0, 2, 4, 5), root - 12, *common), chords, lead]
    for stem, level in zip(stems, sound.levels, strict=False):
        stem *= np.float32(10 ** (level / 20))
    mix = _arrange(stems, 2 * bar, count, rng)
    mix = colour(mix, sound.tilt, sound.centre, sound.gain)
    hiss = rng.standard_normal((2, RATE), np.float32) * np.float32(rms(mix) * 10 ** (sound.hiss / 20))
    for start in range(0, count, RATE):
        mix[:, start : start + RATE] += hiss[:, : count - start]
    return master(mix, sound.loudness).T
