"""Gabor functions, and simple and complex cells of the visual cortex."""

from convlens.analyses.cortex.cortex import cortex
from convlens.analyses.gabor.bank import gabor_bank
from convlens.textbook.notion import Notion

CORTEX = (
    Notion(
        name="gabor",
        section="10.3.1",
        title="Gabor functions",
        formula=r"$G(x,y) = A\,\exp(-\alpha\tilde{x}^2 - \beta\tilde{y}^2)\,"
        r"\sin(\omega\tilde{x} + \phi)$",
        text=(
            "A wave under a Gaussian envelope. The rotated coordinates x̃ = (x − x₀) cos θ + "
            "(y − y₀) sin θ and ỹ = −(x − x₀) sin θ + (y − y₀) cos θ turn it by θ. Columns "
            "differ in orientation, rows in the frequency ω and the phase φ.",
            "Phase 0° is odd, an edge detector; phase 90° is even, a bar detector. The receptive "
            "fields of simple cells look like these functions.",
        ),
        command="gabor --wavelength 16 --wavelength 10 --wavelength 6 --sigma 4",
        python="result = convlens.gabor_bank(wavelengths=(16, 10, 6), sigma=4)",
        compute=lambda materials: gabor_bank(wavelengths=(16, 10, 6), sigma=4.0),
    ),
    Notion(
        name="cortex",
        section="10.3.1",
        title="Simple and complex cells",
        formula=r"$\mathrm{complex} = \sqrt{\mathrm{odd}^2 + \mathrm{even}^2}$",
        text=(
            "A simple cell responds to a bar or an edge of its orientation at one place: its "
            "response is that of a Gabor filter, cut off at 0. Two of the four phases are drawn.",
            "A complex cell responds in a whole neighborhood: it adds the squares of an odd and an "
            "even filter, and does not change when the wave moves under it. Simple cells resemble "
            "the units of a convolution, complex cells those after pooling.",
        ),
        command="cortex {camera} --orientations 4 --size 128",
        python="result = convlens.cortex({camera}, orientations=4, size=128)",
        compute=lambda materials: cortex(materials.photos["camera"], orientations=4, size=128),
    ),
)
