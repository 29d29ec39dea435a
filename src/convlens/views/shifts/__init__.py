"""Shifts: what moving an image does to layers, channels and answers."""
