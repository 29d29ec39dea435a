"""
Before and after fine-tuning
============================

A training goes on for one more epoch. Is the network better now, on which images, and what has
changed inside it?
"""

import tempfile

import convlens

folder = tempfile.mkdtemp()
data = convlens.open_data("digits", seed=0)
convlens.train(data, out=folder, epochs=2, checkpoints=3, device="cpu")
(_, before), (_, after) = convlens.load_checkpoints(folder)[-2:]

# %%
# Both networks answer the validation images, which took no part in the training. An image that both
# get right or wrong says nothing about which network is better, so McNemar's test compares the
# answers that were gained with those that were lost.

images = before.prepare(data.validation.pixels.numpy())
labels = [(index,) for index in data.validation.classes.tolist()]
diff = convlens.diff(before, after, images, labels=labels)
print(diff.summary())
figure = diff.figure()

# %%
# Images whose answer was lost or gained: the right class, and both answers with their
# probabilities.

for row in diff.table().rows:
    print(*row, sep="  ")
