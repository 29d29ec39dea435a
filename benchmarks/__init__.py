"""Benchmarks: convlens, its peers and the least cost of the same work (the floor), in turn.

`python -m benchmarks [NAME ...]` runs them. Each prints a table, and most write
`results/NAME.json`. `python -m benchmarks --list` lists them.
"""
