"""The notions in the order of the chapter.

images.py         section 10.1
convolutions.py   sections 10.2.1 and 10.2.2
sizes.py          sections 10.2.3 to 10.2.5
networks.py       sections 10.2.6 to 10.2.8
cortex.py         section 10.3.1
trained.py        sections 10.3.2 to 10.3.5
"""

from convlens.textbook.notions.convolutions import CONVOLUTIONS
from convlens.textbook.notions.cortex import CORTEX
from convlens.textbook.notions.images import IMAGES
from convlens.textbook.notions.networks import NETWORKS
from convlens.textbook.notions.sizes import SIZES
from convlens.textbook.notions.trained import TRAINED

# Titles of the chapter's sections.
SECTIONS = {
    "10.1.1": "Image data",
    "10.2.1": "Feature detectors",
    "10.2.2": "Translation equivariance",
    "10.2.3": "Padding",
    "10.2.4": "Strided convolutions",
    "10.2.5": "Multi-dimensional convolutions",
    "10.2.6": "Pooling",
    "10.2.8": "Example network architectures",
    "10.3.1": "Visual cortex",
    "10.3.2": "Visualizing trained filters",
    "10.3.3": "Saliency maps",
    "10.3.4": "Adversarial attacks",
    "10.3.5": "Synthetic images",
}
NOTIONS = (*IMAGES, *CONVOLUTIONS, *SIZES, *NETWORKS, *CORTEX, *TRAINED)
