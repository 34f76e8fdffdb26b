"""The genres of the synthetic corpora: their habits as tables, and what an artist of a genre sounds like.

Genres overlap (an artist takes some habits from a neighbouring genre) and artists have a sound of their own, so that a
classifier is neither at chance nor perfect, and a split that puts an artist on two sides looks better than it is.
"""

from dataclasses import dataclass, replace

import numpy as np

BORROWED = (0, 1, 1)  # habits that an artist takes from a neighbouring genre; one of these numbers


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
        "Pop Hip-Hop Experimental",
        (112, 142),
        "machine/four machine/four 808/four machine/breaks",
        "minor dorian",
        "synthbass/offbeat fmbass/eighths synthbass/eighths",
        "saw/stab pad/held saw/arpeggio keys/offbeat",
        "square/busy saw/busy bell/sparse none/none",
        (0, -3, -5, -8),
        brightness=0.1,
        loudness=(-17, -13),
    ),
    "Experimental": Style(
        "Electronic Instrumental International",
        (50, 150),
        "machine/scatter hand/scatter none/none none/none",
        "wholetone chromatic phrygian",
        "subbass/held fmbass/held none/none",
        "metal/held pad/held organ/held metal/stab",
        "metal/sparse bell/sparse saw/sparse flute/sparse",
        (-4, -6, -2, -4),
        (0, 3),
        (-24, -16),
        room=0.6,
        hiss=-30,
    ),
    "Folk": Style(
        "Instrumental International Pop",
        (80, 130),
        "none/none none/none hand/train acoustic/waltz",
        "major mixolydian dorian",
        "none/none doublebass/half",
        "guitar/strum guitar/arpeggio banjo/arpeggio nylon/arpeggio",
        "voice/sung voice/sung fiddle/sung flute/sung",
        (-10, -6, 0, -2),
        loudness=(-23, -17),
        hiss=-50,
    ),
    "Hip-Hop": Style(
        "Electronic Pop",
        (76, 100),
        "808/trap 808/boombap machine/boombap acoustic/boombap",
        "minor phrygian",
        "subbass/half subbass/syncopated",
        "keys/held piano/stab strings/held pad/stab",
        "rap/rapped rap/rapped rap/rapped voice/sung",
        (1, 0, -9, -3),
        brightness=-0.1,
        loudness=(-17, -13),
        hiss=-48,
    ),
    "Instrumental": Style(
        "Folk Experimental Rock",
        (60, 112),
        "none/none none/none acoustic/sparse acoustic/rock",
        "major minor dorian",
        "none/none doublebass/held",
        "piano/arpeggio guitar/arpeggio strings/held pad/held",
        "piano/sparse strings/sung piano/sung bell/sparse",
        (-9, -7, 0, -3),
        loudness=(-24, -17),
        room=0.5,
    ),
    "International": Style(
        "Folk Hip-Hop Rock",
        (88, 138),
        "hand/samba hand/clave hand/train hand/samba",
        "harmonic phrygian pentatonic",
        "doublebass/half doublebass/syncopated none/none",
        "nylon/strum accordion/offbeat sitar/arpeggio accordion/strum",
        "voice/sung fiddle/busy sitar/busy flute/sung",
        (-2, -5, -3, -2),
        loudness=(-21, -15),
    ),
    "Pop": Style(
        "Rock Electronic Folk",
        (94, 130),
        "acoustic/rock machine/rock machine/four acoustic/breaks",
        "major minor",
        "bass/eighths synthbass/half bass/syncopated",
        "piano/held pad/held guitar/strum electric/eighths keys/stab",
        "voice/sung voice/sung voice/sung square/busy",
        (-2, -4, -4, 0),
        (0, 1),
        (-18, -13),
    ),
    "Rock": Style(
        "Pop Experimental Folk",
        (104, 164),
        "acoustic/rock acoustic/punk acoustic/rock acoustic/breaks",
        "minor mixolydian major",
        "bass/eighths",
        "electric/eighths electric/strum electric/held",
        "electric/busy voice/sung voice/sung none/none",
        (0, -4, 0, -3),
        (1.5, 6),
        (-17, -13),
    ),
}

GTZAN_STYLES = {
    "blues": Style(
        "rock jazz country",
        (66, 112),
        "acoustic/shuffle",
        "blues",
        "bass/walking doublebass/walking",
        "electric/shuffled piano/shuffled guitar/shuffled",
        "electric/sung voice/sung brass/sung",
        (-5, -4, -3, 0),
        (0.3, 2),
    ),
    "classical": Style(
        "jazz",
        (56, 132),
        "none/none",
        "major minor harmonic",
        "doublebass/half none/none",
        "strings/held piano/arpeggio strings/arpeggio",
        "fiddle/sung flute/busy piano/busy strings/sung",
        (-9, -6, -2, 0),
        loudness=(-26, -18),
        room=0.6,
    ),
    "country": Style(
        "rock blues pop",
        (84, 136),
        "acoustic/train acoustic/waltz",
        "major mixolydian",
        "bass/half doublebass/half",
        "guitar/strum banjo/arpeggio guitar/arpeggio",
        "voice/sung fiddle/sung electric/sung",
        (-6, -4, 0, 0),
    ),
    "disco": Style(
        "pop hiphop reggae",
        (108, 130),
        "acoustic/four machine/four",
        "minor dorian",
        "bass/offbeat synthbass/eighths",
        "electric/offbeat strings/held keys/stab",
        "voice/sung strings/busy brass/busy",
        (0, -2, -5, -3),
        brightness=0.1,
    ),
    "hiphop": replace(FMA_STYLES["Hip-Hop"], near="pop disco reggae"),
    "jazz": Style(
        "blues classical",
        (90, 170),
        "acoustic/swing acoustic/swing none/none",
        "dorian blues",
        "doublebass/walking",
        "piano/stab guitar/stab keys/held",
        "brass/busy piano/busy guitar/busy",
        (-6, -3, -5, 0),
        loudness=(-22, -16),
    ),
    "metal": Style(
        "rock",
        (120, 190),
        "acoustic/metal acoustic/punk",
        "phrygian minor",
        "bass/eighths",
        "electric/gallop electric/eighths",
        "electric/busy rap/rapped none/none",
        (0, -5, 2, -5),
        (8, 16),
        (-16, -12),
        brightness=0.1,
    ),
    "pop": replace(FMA_STYLES["Pop"], near="disco rock hiphop"),
    "reggae": Style(
        "hiphop pop disco",
        (66, 92),
        "acoustic/onedrop",
        "minor major",
        "subbass/syncopated bass/syncopated",
        "organ/skank electric/skank piano/skank",
        "voice/sung voice/sung brass/sung",
        (-3, 1, -5, -2),
        brightness=-0.1,
    ),
    "rock": replace(FMA_STYLES["Rock"], near="metal pop blues country"),
}
STYLES = FMA_STYLES | GTZAN_STYLES

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
