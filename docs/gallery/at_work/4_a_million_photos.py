"""A million photos
================

A pass over a data set keeps a state whose size does not grow with the photos. The state is saved
from time to time, so that a pass that was stopped continues. Here the data are eight photos; the
lines are those for a million.
"""

import tempfile
from pathlib import Path

import convlens
from convlens.models.loading.demo_photos import demo_photos

model = convlens.load()
photos = [photo.path for photo in demo_photos()]
state = Path(tempfile.mkdtemp())

# %%
# The first pass is interrupted after some of its batches, as by Ctrl-C.


def interrupt(stage: str, done: int, total: int) -> None:
    """Stop after half of the photos."""
    if done >= total / 2 > 0:
        raise KeyboardInterrupt


options = convlens.PassOptions(
    batch_size=2, resume_folder=state, save_interval=0, progress=interrupt
)
try:
    convlens.patches(model, photos, layers=["blocks.2.0.conv_dw"], pass_options=options)
except KeyboardInterrupt:
    print("stopped; saved:", *sorted(path.name for path in state.iterdir()))

# %%
# The same call continues from there. The result equals that of an uninterrupted pass in every bit.

options = convlens.PassOptions(batch_size=2, resume_folder=state)
resumed = convlens.patches(model, photos, layers=["blocks.2.0.conv_dw"], pass_options=options)
options = convlens.PassOptions(batch_size=2)
whole = convlens.patches(model, photos, layers=["blocks.2.0.conv_dw"], pass_options=options)
assert resumed == whole
print(resumed.summary())
figure = resumed.figure()

# %%
# ``PassOptions(engine="ray")`` runs the same pass on many machines; :doc:`/scale` has measured
# rates and a plan for 100 million photos.
