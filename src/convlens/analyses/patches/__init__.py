"""Patches: what of a data set excites each channel, and how selective it is."""
