"""SoundFusion: music genre recognition from waveforms, mel spectrograms and their fusion.

Data flows one way: corpora -> store -> splits, segments -> training -> experiments -> report -> notebooks.
"""

__version__ = "0.1.0"
