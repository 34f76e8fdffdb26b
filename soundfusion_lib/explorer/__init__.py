"""Explore a study in JupyterLab: hear a clip, see what each network predicts along time and where it looked."""
