"""Synthetic music in FMA's and GTZAN's layouts: genres, a composer, a synthesiser, and the demo corpora of these."""
