"""Gabor functions, and their fits to the filters of a network.

function.py       `gabor`: the function
bank.py           `gabor_bank`: filters of several orientations and frequencies
fit.py            `fit_gabor` and `filters_by_kind`
result.py         the result of `fit_gabor`
least_squares.py  the nearest Gabor functions
noise_test.py     tests them against fits to noise
verdicts.py       the kind of each filter
"""
