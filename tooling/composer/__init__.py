"""Synthetic music in the genres of FMA and GTZAN: their habits, a composer, a synthesiser, a mixer."""
