"""The one error that bad input raises."""


class SoundFusionError(Exception):
    """Something the user gave cannot be used; the message says what, where, and what to do about it.

    The command line prints the message alone; any other exception is a fault of ours and keeps its traceback.
    """
