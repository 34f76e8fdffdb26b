"""A trained network at work: the labels of music files, and a folder to pass it on in. Imports all up to analysis."""
