"""Synthesis: images that are made to excite a network, and dreams."""
