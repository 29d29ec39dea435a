"""Published figures beside those of convlens: `make reproduce`.

published_figure.py  a published figure, and how it is computed again
structure.py         receptive fields and multiply-adds of published networks
saliency.py          a Grad-CAM worked by hand, and the cascade of randomized layers
attacks.py           FGSM and PGD on MNIST, and a certified bound
filters.py           the share of Gabor-like filters, beside noise
training.py          accuracies, and anti-aliased pooling, as the benchmarks measured them last
"""
