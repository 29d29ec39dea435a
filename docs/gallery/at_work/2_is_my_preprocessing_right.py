"""Is my preprocessing right?
==========================

A network that is fed wrongly still gives predictions, and some of them are right. This script makes
a frequent mistake on purpose and lets convlens find it.
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
# Now the network is fed with pixels from 0 to 255, as if the division by 255 had been forgotten:

wrong = replace(model, mean=(0.0,), std=(1 / 255,))
diagnosis = convlens.check_preprocessing(wrong, paths, labels=labels)
print(diagnosis.summary())

# %%
# The score of each variant, in nats for each photo. The configured variant is the first one. With
# eight photos only a large difference is significant. A mean that is a little off costs less, and
# takes more photos to be noticed.

for row in diagnosis.table().rows:
    print(*row, sep="  ")
figure = diagnosis.figure()
