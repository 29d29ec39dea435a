"""The grammar of random networks.

A rule is a function `(program, x)` that adds lines which read the map `x`, `(N, C, H, W)`, and
returns the name of another map. `network.py` draws rules and writes a network from them.
"""
