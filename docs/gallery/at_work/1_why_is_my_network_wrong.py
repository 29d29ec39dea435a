"""Why is my network wrong?
========================

A network is trained for two epochs on small digits, so that it still makes errors. Which classes
does it confuse, how sure is it when it is wrong, and what in an image supports the wrong class?
"""

import tempfile

import convlens

folder = tempfile.mkdtemp()
data = convlens.open_data("digits", seed=0)
convlens.train(data, out=folder, epochs=2, device="cpu")
model = convlens.load(folder)

# %%
# The validation images took no part in the training. A label is the indices of the classes that are
# right, here one for each image.

images = model.prepare(data.validation.pixels.numpy())
labels = [(index,) for index in data.validation.classes.tolist()]
errors = convlens.error_analysis(model, images, labels, show=8)
print(errors.summary())
figure = errors.figure()

# %%
# ``errors.pairs`` counts the confusions, and ``errors.wrong`` lists the errors, the surest first.

for pair in errors.pairs[:5]:
    print(pair.summary())

# %%
# Which parts of the image support the wrong class more than the right one? Grad-CAM of the
# difference of the two logits answers it: red cells support the wrong class, blue cells the
# right one. The final layer has 2 × 2 cells for so small an image, so an earlier one is read.

worst = errors.wrong[0]
cam = convlens.gradcam(
    model,
    images[worst.number : worst.number + 1],
    classes=f"{worst.prediction_name} - {worst.label_name}",
    layer="features.8",
)
print(worst.summary())
figure = cam.figure()
