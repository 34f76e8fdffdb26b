"""Artists out of files' tags."""

import unicodedata
from pathlib import Path

KEYS = "artist", "TPE1", "Author"  # of most kinds of tags; of ID3 in WAV and AIFF; of WMA
NOBODY = {"", "magnatune compilation", "unknown", "unknown artist", "va", "various", "various artists"}


def artist_of(file: Path) -> str | None:
    """The artist in a file's tags; None where it has none, cannot be read, or names a compilation."""
    import mutagen  # here: most corpora bring a table of artists

    if not file.is_file():  # a pipe would be waited for
        return None
    try:
        tags = mutagen.File(file, easy=True).tags
        return known_artist(next(str(tags[key][0]) for key in KEYS if key in tags))
    except Exception:  # of junk it raises more kinds than its own, and for what it does not know it returns None
        return None


def known_artist(name: str) -> str | None:
    """A name in one Unicode form and with single spaces; None for words that stand for nobody."""
    name = unicodedata.normalize("NFC", " ".join(name.split()))
    return None if name.casefold() in NOBODY else name
