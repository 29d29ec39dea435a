"""Analyses: what a trained network has learned. Each package holds one analysis.

anatomy/              layers, sizes, costs and receptive fields of a network
receptive_field/      the receptive field of a unit, drawn on a photo
effective_field/      where the gradient of a unit lies inside it
filters/              the filters of a convolution, also over a training
gabor/                Gabor functions, and their fits to filters
orientation_tuning/   responses of channels to gratings
cortex/               simple and complex cells of the visual cortex
image_tensor/         a photo as a tensor of numbers
worked_examples/      the chapter's arithmetic on small numbers
feature_maps/         feature maps, and one unit as a feature detector
patches/              the image patches that activate each channel most
invariance/           how selective and invariant channels are
maximize/             images that maximize a unit, a channel or a class
deepdream/            photos changed so that a layer responds more strongly
gradcam/              which parts of an image support a class
attacks/              adversarial attacks, and accuracy under them
shift/                equivariance and invariance under shifts
predictions/          predicted classes with their probabilities
calibration/          confidence against accuracy
error_analysis/       how often, where and why a network is wrong
preprocessing_check/  is the preprocessing the right one?
weights_check/        were the weights ever trained?
missing_settings/     what a model was not given
model_check/          `check`: these and other checks against limits
comparison/           the differences between two networks
"""
