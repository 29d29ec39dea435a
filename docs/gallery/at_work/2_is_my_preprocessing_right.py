"""Is my preprocessing right?
==========================

A network that is fed with a wrong normalization still gives predictions, and most of them may be
right. This script makes the mistake on purpose and lets convlens find it.
"""

from dataclasses import replace

import convlens
from convlens.models.loading.demo_photos import demo_photos

model = convlens.load()
photos = demo_photos()
paths = [photo.path for photo in photos]
labels = [tuple(model.labels.index(name) for name in photo.classes) for photo in photos]

# %%
# The embedded network was trained on pixels from -1 to 1: mean 0.5, deviation 0.5. First with this
# preprocessing:

print(convlens.check_preprocessing(model, paths, labels=labels).summary())

# %%
# Now nothing is subtracted, as if the normalization had been forgotten:

wrong = replace(model, mean=(0.0,), std=(1.0,))
diagnosis = convlens.check_preprocessing(wrong, paths, labels=labels)
print(diagnosis.summary())

# %%
# The score of each variant, in nats for each photo. The configured variant is the first one.

for row in diagnosis.table().rows:
    print(*row, sep="  ")
figure = diagnosis.figure()
