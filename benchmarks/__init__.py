"""Benchmarks: convlens, its peers and the least cost of the same work (the floor), in turn.

`python -m benchmarks [NAME ...]` runs them. Each prints its figures and writes `results/NAME.json`;
with `--write-document` they are also written to docs/benchmarks.md. `python -m benchmarks --list`
lists them.
"""
