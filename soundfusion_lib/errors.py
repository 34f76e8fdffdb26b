"""The one error that bad input raises."""


class SoundFusionError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do about it.

    The command line and notebooks show the message alone; any other exception is a fault of ours and keeps its
    traceback.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows of it in a notebook: the message alone, too."""
        return [f"{type(self).__name__}: {self}"]
