"""A clip's sound and picture in HTML: a line in the picture runs with the sound, a click on it plays from there.

The handlers are attributes of the elements, as a script in a widget's HTML would not be run. Where a front end forbids
them too, the sound plays and the line stays at the beginning.
"""

import html
import io
from base64 import b64encode

from matplotlib.figure import Figure

from soundfusion_lib.study.study import DPI

PLAYER = "soundfusion-player"  # class of the element that holds both
RUN = (
    f"const line = this.closest('.{PLAYER}').querySelector('[data-seconds]'), at = line.dataset; "
    "line.style.left = (+at.left + at.width * this.currentTime / at.seconds) + '%'"
)
SEEK = (
    f"const sound = this.closest('.{PLAYER}').querySelector('audio'), box = this.getBoundingClientRect(), "
    "at = this.querySelector('[data-seconds]').dataset, x = 100 * (event.clientX - box.left) / box.width; "
    "if (sound && x >= +at.left && x <= +at.left + +at.width) "
    "{ sound.currentTime = (x - at.left) / at.width * at.seconds; sound.play() }"
)
SYNC = f"this.closest('.{PLAYER}').querySelector('audio')?.dispatchEvent(new Event('timeupdate'))"  # a new picture
LINE = "position: absolute; width: 2px; background: #d55e00; transition: left 0.25s linear"


def sound_element(content: bytes) -> str:
    """A player of an MP3."""
    source = "data:audio/mpeg;base64," + b64encode(content).decode()
    return f'<audio controls src="{source}" style="width: 100%" ontimeupdate="{html.escape(RUN)}"></audio>'


def picture_element(figure: Figure, seconds: float, described: str) -> str:
    """A figure whose first axes show so many seconds."""
    content = io.BytesIO()
    figure.savefig(content, dpi=DPI)
    boxes = [axis.get_position() for axis in figure.axes]  # in shares of the figure, known once it is drawn
    left, width = 100 * boxes[0].x0, 100 * boxes[0].width
    line = f"left: {left:.3f}%; top: {100 - 100 * boxes[0].y1:.3f}%; bottom: {100 * min(box.y0 for box in boxes):.3f}%"
    place = f'data-left="{left:.3f}" data-width="{width:.3f}" data-seconds="{seconds:.3f}"'
    source = "data:image/png;base64," + b64encode(content.getvalue()).decode()
    image = f'src="{source}" alt="{html.escape(described)}" onload="{html.escape(SYNC)}"'
    look = f"position: relative; cursor: pointer; max-width: {96 * figure.get_figwidth():.0f}px"
    return (
        f'<div style="{look}" onclick="{html.escape(SEEK)}">'
        f'<img {image} style="width: 100%; display: block">'
        f'<div style="{LINE}; {line}" {place}></div></div>'
    )
