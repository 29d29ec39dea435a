"""Adversarial attacks, and the accuracy of a network under them.

fgsm.py                `fgsm`: the fast gradient sign method, for several epsilons
fgsm_result.py         its result
pgd.py                 `pgd`: projected gradient descent
steps.py               the steps of both
flip.py                `find_flip`: the smallest 8-bit change that flips a prediction
internal_changes.py    `internal_changes`: the channels that an attack changes, and Grad-CAM
criterion.py           the class that an attack moves from or towards, its loss and gradient
epsilon.py             epsilon as text and as a number
diagnostics.py         conditions under which a measure of robustness is misleading
dataset_pass.py        `robustness`: accuracy against epsilon over a data set
robustness_reducer.py  what this pass does with each batch
robustness.py          its result
photo_attacks.py       `attack_photos`: attacks on the photos of a folder, written to a folder
photo_result.py        its result
figures.py             figures of attacked images
"""
