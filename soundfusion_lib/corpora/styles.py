"""The genres of the synthetic corpora: their habits as tables, and one clip of a genre by an artist.

Genres overlap (an artist takes some habits from a neighbouring genre) and artists have a sound of their own, so that a
classifier is neither at chance nor perfect, and a split that puts an artist on two sides looks better than it is.
"""

from dataclasses import dataclass, replace

import numpy as np

from soundfusion_lib.corpora.synthesis import RATE, colour, distort, drum, echoes, master, note, place, rms

BORROWED = (0, 1, 1)  # habits that an artist takes from a neighbouring genre; one of these numbers
UNUSUAL = 0.1  # how often a track departs from a habit of its artist
BARS = 4  # in the loop that a track repeats
FADE = 256  # samples between two sections
PRESENCE = (0.9, 0.9, 1.0, 0.75)  # of drums, bass, chords and lead in a section


@dataclass(frozen=True)
class Style:
    """The habits of a genre. Words separated by spaces are drawn from, so one that stands twice is drawn more often."""

    near: str  # genres it shares habits with
    tempo: tuple  # beats a minute
    drums: str  # kit/pattern
    scale: str
    bass: str  # instrument/rhythm
    chords: str  # instrument/rhythm
    lead: str  # instrument/rhythm
    levels: tuple  # dB of drums, bass, chords, lead
    drive: tuple = (0.0, 0.0)  # of the chords' amplifier
    loudness: tuple = (-20.0, -15.0)  # dBFS RMS
    brightness: float = 0.0
    room: float = 0.3  # how much of it is heard
    hiss: float = -60.0  # dB


FMA_STYLES = {
    "Electronic": Style(
        "Pop Hip-Hop Experimental", (112, 142), "machine/four machine/four 808/four machine/breaks", "minor dorian",
        "synthbass/offbeat fmbass/eighths synthbass/eighths", "saw/stab pad/held saw/arpeggio keys/offbeat",
        "square/busy saw/busy bell/sparse none/none", (0, -3, -5, -8), brightness=0.1, loudness=(-17, -13)),
    "Experimental": Style(
        "Electronic Instrumental International", (50, 150), "machine/scatter hand/scatter none/none none/none",
        "wholetone chromatic phrygian", "subbass/held fmbass/held none/none", "metal/held pad/held organ/held metal/stab",
        "metal/sparse bell/sparse saw/sparse flute/sparse", (-4, -6, -2, -4), (0, 3), (-24, -16), room=0.6, hiss=-30),
    "Folk": Style(
        "Instrumental International Pop", (80, 130), "none/none none/none hand/train acoustic/waltz", "major mixolydian dorian",
        "none/none doublebass/half", "guitar/strum guitar/arpeggio banjo/arpeggio nylon/arpeggio",
        "voice/sung voice/sung fiddle/sung flute/sung", (-10, -6, 0, -2), loudness=(-23, -17), hiss=-50),
    "Hip-Hop": Style(
        "Electronic Pop", (76, 100), "808/trap 808/boombap machine/boombap acoustic/boombap", "minor phrygian",
        "subbass/half subbass/syncopated", "keys/held piano/stab strings/held pad/stab", "rap/rapped rap/rapped rap/rapped voice/sung",
        (1, 0, -9, -3), brightness=-0.1, loudness=(-17, -13), hiss=-48),
    "Instrumental": Style(
        "Folk Experimental Rock", (60, 112), "none/none none/none acoustic/sparse acoustic/rock", "major minor dorian",
        "none/none doublebass/held", "piano/arpeggio guitar/arpeggio strings/held pad/held",
        "piano/sparse strings/sung piano/sung bell/sparse", (-9, -7, 0, -3), loudness=(-24, -17), room=0.5),
    "International": Style(
        "Folk Hip-Hop Rock", (88, 138), "hand/samba hand/clave hand/train hand/samba", "harmonic phrygian pentatonic",
        "doublebass/half doublebass/syncopated none/none", "nylon/strum accordion/offbeat sitar/arpeggio accordion/strum",
        "voice/sung fiddle/busy sitar/busy flute/sung", (-2, -5, -3, -2), loudness=(-21, -15)),
    "Pop": Style(
        "Rock Electronic Folk", (94, 130), "acoustic/rock machine/rock machine/four acoustic/breaks", "major minor",
        "bass/eighths synthbass/half bass/syncopated", "piano/held pad/held guitar/strum electric/eighths keys/stab",
        "voice/sung voice/sung voice/sung square/busy", (-2, -4, -4, 0), (0, 1), (-18, -13)),
    "Rock": Style(
        "Pop Experimental Folk", (104, 164), "acoustic/rock acoustic/punk acoustic/rock acoustic/breaks", "minor mixolydian major",
        "bass/eighths", "electric/eighths electric/strum electric/held", "electric/busy voice/sung voice/sung none/none",
        (0, -4, 0, -3), (1.5, 6), (-17, -13)),
}

GTZAN_STYLES = {
    "blues": Style(
        "rock jazz country", (66, 112), "acoustic/shuffle", "blues", "bass/walking doublebass/walking",
        "electric/shuffled piano/shuffled guitar/shuffled", "electric/sung voice/sung brass/sung", (-5, -4, -3, 0), (0.3, 2)),
    "classical": Style(
        "jazz", (56, 132), "none/none", "major minor harmonic", "doublebass/half none/none", "strings/held piano/arpeggio strings/arpeggio",
        "fiddle/sung flute/busy piano/busy strings/sung", (-9, -6, -2, 0), loudness=(-26, -18), room=0.6),
    "country": Style(
        "rock blues pop", (84, 136), "acoustic/train acoustic/waltz", "major mixolydian", "bass/half doublebass/half",
        "guitar/strum banjo/arpeggio guitar/arpeggio", "voice/sung fiddle/sung electric/sung", (-6, -4, 0, 0)),
    "disco": Style(
        "pop hiphop reggae", (108, 130), "acoustic/four machine/four", "minor dorian", "bass/offbeat synthbass/eighths",
        "electric/offbeat strings/held keys/stab", "voice/sung strings/busy brass/busy", (0, -2, -5, -3), brightness=0.1),
    "hiphop": replace(FMA_STYLES["Hip-Hop"], near="pop disco reggae"),
    "jazz": Style(
        "blues classical", (90, 170), "acoustic/swing acoustic/swing none/none", "dorian blues", "doublebass/walking",
        "piano/stab guitar/stab keys/held", "brass/busy piano/busy guitar/busy", (-6, -3, -5, 0), loudness=(-22, -16)),
    "metal": Style(
        "rock", (120, 190), "acoustic/metal acoustic/punk", "phrygian minor", "bass/eighths", "electric/gallop electric/eighths",
        "electric/busy rap/rapped none/none", (0, -5, 2, -5), (8, 16), (-16, -12), brightness=0.1),
    "pop": replace(FMA_STYLES["Pop"], near="disco rock hiphop"),
    "reggae": Style(
        "hiphop pop disco", (66, 92), "acoustic/onedrop", "minor major", "subbass/syncopated bass/syncopated",
        "organ/skank electric/skank piano/skank", "voice/sung voice/sung brass/sung", (-3, 1, -5, -2), brightness=-0.1),
    "rock": replace(FMA_STYLES["Rock"], near="metal pop blues country"),
}
STYLES = FMA_STYLES | GTZAN_STYLES

SCALES = {  # semitones over the root
    "major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10), "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10), "phrygian": (0, 1, 3, 5, 7, 8, 10), "harmonic": (0, 1, 4, 5, 7, 8, 11),
    "pentatonic": (0, 2, 4, 7, 9), "blues": (0, 3, 5, 6, 7, 10), "wholetone": (0, 2, 4, 6, 8, 10), "chromatic": (0, 1, 3, 4, 6, 7, 9, 10),
}
PROGRESSIONS = ((0, 4, 5, 3), (0, 3, 4, 0), (5, 3, 0, 4), (0, 0, 3, 4), (0, 5, 3, 4), (0, 6, 5, 4), (0, 0, 0, 0))  # a degree a bar

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
    "samba": {"kick": "x..xx..xx..xx..x", "snare": "..x..x.x..x..x.x", "hat": "xxxxxxxxxxxxxxxx", "ride": "x.x.xx.x.x.xx.x."},
    "clave": {"kick": "...x..x....x..x.", "snare": "x..x..x...x.x...", "ride": "x.xx.xx.x.xx.x.x"},
    "onedrop": {"kick": "........x.......", "snare": "........x.......", "hat": "x..xx..xx..xx..x"},
    "sparse": {"kick": "x...............", "snare": "........x.......", "ride": "x...x...x...x..."},
    "waltz": {"kick": "x...........", "snare": "....x...x...", "hat": "x...x...x..."},
    "shuffle": {"kick": "x.....x.....", "snare": "...x.....x..", "hat": "x.xx.xx.xx.x"},
    "swing": {"kick": "x...........", "hat": "...x.....x..", "ride": "x..x.xx..x.x"},
    "scatter": {},  # drawn anew for each track
}
RHYTHMS = {  # onsets in a bar
    "held": "x...............", "half": "x.......x.......", "strum": "x...x.x...x.x.x.", "eighths": "x.x.x.x.x.x.x.x.",
    "offbeat": "..x...x...x...x.", "skank": "....x.......x...", "stab": "x.....x.....x...", "syncopated": "x.....x...x..x..",
    "arpeggio": "x.x.x.x.x.x.x.x.", "walking": "x..x..x..x..", "shuffled": "x.xx.xx.xx.x", "gallop": "x.xxx.xxx.xxx.xx",
}
SHORT = ("offbeat", "skank", "stab", "gallop")  # rhythms whose notes are cut off
MELODIES = {"sung": (0.35, 2), "busy": (0.55, 1), "sparse": (0.12, 1), "rapped": (0.75, 1)}  # chance of an onset, every so many sixteenths
HABITS = ("tempo", "drums", "scale", "bass", "chords", "lead")


@dataclass(frozen=True)
class Sound:
    """What an artist sounds like: a draw from a Style, and the production that all tracks of the artist share."""

    tempo: float
    drums: str
    scale: str
    bass: str
    chords: str
    lead: str
    levels: np.ndarray
    drive: float
    loudness: float
    brightness: float
    room: float
    hiss: float
    tilt: float  # dB; this, centre (Hz) and gain (dB) are the equaliser's
    centre: float
    gain: float
    width: float  # 0 to 1
    tuning: float  # of the drums
    key: int  # MIDI pitch


def draw_sound(genre: str, rng: np.random.Generator) -> Sound:
    """An artist of a genre (a key of STYLES)."""
    style = STYLES[genre]

    neighbour = STYLES[rng.choice(style.near.split())]
    borrowed = rng.permutation(HABITS)[: rng.choice(BORROWED)]

    def habit(name):
        words = getattr(neighbour if name in borrowed else style, name)
        return rng.uniform(*words) if name == "tempo" else str(rng.choice(words.split()))

    return Sound(
        **{name: habit(name) for name in HABITS},
        levels=np.array(style.levels) + rng.normal(0, 2, 4),
        drive=rng.uniform(*style.drive),
        loudness=rng.uniform(*style.loudness),
        brightness=style.brightness + rng.normal(0, 0.12),
        room=style.room * rng.uniform(0.3, 1.7),
        hiss=style.hiss + rng.normal(0, 6),
        tilt=rng.normal(0, 2),
        centre=200 * 30 ** rng.random(),
        gain=rng.normal(0, 6),
        width=rng.random(),
        tuning=rng.uniform(0.85, 1.2),
        key=int(rng.integers(40, 52)),
    )


def _pitch(scale: tuple, degree: int) -> int:
    octave, step = divmod(degree, len(scale))
    return scale[step] + 12 * octave


def _drums(sound: Sound, bar: int, bars: int, rng) -> np.ndarray:
    kit, name = sound.drums.split("/")
    loop = np.zeros(bar, np.float32)
    pattern = PATTERNS[name]
    if name == "scatter":
        pattern = {voice: "".join(rng.choice(["x", "."], 16, p=[0.15, 0.85])) for voice in ("kick", "snare", "hat", "ride")}
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


def _accompany(part: str, tones: tuple, root: int, progression: tuple, sound: Sound, bar: int, bars: int, rng) -> np.ndarray:
    """Chords or bass: the tones (degrees over the bar's) all at once, or in turn where the rhythm says so."""
    instrument, rhythm = part.split("/")
    if rhythm == "none":
        return np.zeros(bar * bars, np.float32)
    steps, scale, events = RHYTHMS[rhythm], SCALES[sound.scale], []
    onsets = [step for step, mark in enumerate(steps) if mark == "x"]
    for index in range(bars):
        for turn, (step, following) in enumerate(zip(onsets, onsets[1:] + [len(steps) + onsets[0]])):
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
        for step, following, degree in zip(onsets, onsets[1:] + [32 + onsets[0]], degrees):
            seconds = min((following - step) / 16 * bar / RATE, 1.5)
            pitch = root + _pitch(SCALES[sound.scale], progression[start] + int(degree))
            events.append((int((start + step / 16) * bar), seconds, pitch))
    return _play(bar * bars, instrument, events, sound.brightness, rng)


def _arrange(stems: list, section: int, count: int, rng) -> np.ndarray:
    """Repeat the loops for so many samples; drums, bass and lead come and go from section to section, the chords stay."""
    mix = np.empty((2, count), np.float32)
    length, before = stems[0].shape[-1], np.zeros(len(stems), np.float32)
    start = -int(rng.integers(section))  # a clip begins anywhere in a piece
    position = 0
    while start < count:
        levels = np.float32(rng.random(len(stems)) < PRESENCE)
        part = np.zeros((2, section), np.float32)
        for stem, level, last in zip(stems, levels, before if start > 0 else levels):
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
    for stem, level in zip(stems, sound.levels):
        stem *= np.float32(10 ** (level / 20))
    mix = _arrange(stems, 2 * bar, count, rng)
    mix = colour(mix, sound.tilt, sound.centre, sound.gain)
    hiss = rng.standard_normal((2, RATE), np.float32) * np.float32(rms(mix) * 10 ** (sound.hiss / 20))
    for start in range(0, count, RATE):
        mix[:, start : start + RATE] += hiss[:, : count - start]
    return master(mix, sound.loudness).T
