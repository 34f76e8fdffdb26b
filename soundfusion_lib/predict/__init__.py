"""A trained network at work: the genres of music files, and a folder that it can be passed on in.

May import all rooms up to analysis, and what stands beside the rooms.
"""
