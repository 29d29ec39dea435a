"""Benchmarks: convlens beside its peers and beside the least that the work can cost.

`python -m benchmarks [NAME ...]` runs them, prints a table each and writes `results/NAME.json`.
"""
