"""A seeded campaign of random small networks, checked against slow and plain computations.

`grammar/` writes networks, `oracles/` computes what is right, `campaign.py` runs the comparison.
"""
