"""A study by ear and by eye: hear a clip, see what each network hears in it along time and what it looked at.

May import all rooms up to analysis and what stands beside the rooms.
"""
