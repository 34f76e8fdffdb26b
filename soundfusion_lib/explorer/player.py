"""A clip's sound and picture in HTML: a line in the picture runs with the sound, and a click there plays from there.

The handlers are attributes of the elements, because a script in a widget's HTML does not run. Where a front end forbids
them, too, the sound plays and the line stays at the beginning.
"""

import html
import io
from base64 import b64encode

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from soundfusion_lib.audio.decode import decode, encode_mp3, resample, to_channels
from soundfusion_lib.datasets.corpus import Corpus
from soundfusion_lib.study.results import DPI

PLAYER = "soundfusion-player"  # class of the element around both
RATE = 44_100  # Hz
BYTES = 500_000  # Jupyter drops messages beyond 3 MB within 3 s, so long clips get fewer bits
LONGEST = 300  # s
AROUND = f"this.closest('.{PLAYER}')"
LINE = (
    "position: absolute; width: 2px; height: 100%; left: calc(100% * var(--played, 0)); background: #d55e00; "
    "transition: left 0.25s linear; pointer-events: none"
)


def sound(corpus: Corpus, track: str) -> bytes:
    """What the study uses of a track's file, at most five minutes, as MP3; raises UnusableAudio if it is unreadable."""
    samples, rate = decode(corpus.file(track), min(corpus.seconds or LONGEST, LONGEST))
    samples = resample(to_channels(samples, min(2, samples.shape[1])), rate, RATE)
    kilobits = min(128, max(32, int(8 * BYTES / 1000 / (len(samples) / RATE))))
    return encode_mp3(samples.squeeze(1) if samples.shape[1] == 1 else samples, RATE, kilobits)


def sound_element(mp3: bytes, seconds: float) -> str:
    """A player of a clip that lasts this many seconds."""
    run = f"{AROUND}.style.setProperty('--played', this.currentTime / {seconds})"
    source = f"data:audio/mpeg;base64,{b64encode(mp3).decode()}"
    return f'<audio controls src="{source}" style="width: 100%" onloadeddata="{run}" ontimeupdate="{run}"></audio>'


def picture_element(figure: Figure, seconds: float, description: str) -> str:
    """A figure, which this closes; its first axes show this many seconds."""
    content = io.BytesIO()
    figure.savefig(content, dpi=DPI)
    boxes = [axis.get_position() for axis in figure.axes]  # in shares of the figure; the layout is known once drawn
    plt.close(figure)
    left, right, top, bottom = boxes[0].x0, 1 - boxes[0].x1, 1 - boxes[0].y1, min(box.y0 for box in boxes)
    area = f"left: {left:.3%}; right: {right:.3%}; top: {top:.3%}; bottom: {bottom:.3%}"
    seek = (
        f"const sound = {AROUND}.querySelector('audio'); "
        f"if (sound) {{ sound.currentTime = event.offsetX / this.clientWidth * {seconds}; sound.play() }}"
    )
    source = f"data:image/png;base64,{b64encode(content.getvalue()).decode()}"
    return (
        '<div style="position: relative">'
        f'<img src="{source}" alt="{html.escape(description)}" style="width: 100%; display: block">'
        f'<div style="position: absolute; cursor: pointer; {area}" onclick="{seek}">'
        f'<div class="soundfusion-line" style="{LINE}"></div></div></div>'
    )
