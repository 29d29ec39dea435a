"""One call of every public function that takes a model, on a few small images or photos."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import convlens
from support.pages import reduce_work

SIZE = 24


def photos(count=6):
    generator = np.random.default_rng(0)
    return [
        Image.fromarray(generator.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8))
        for _ in range(count)
    ]


def images(count=2):
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def flipped(model):
    return convlens.find_flip(model, convlens.fgsm(model, images(), score=False), levels=(1, 8))


def changed(model):
    network = copy.deepcopy(model.network)
    with torch.no_grad():
        next(network.parameters()).add_(0.1)
    return replace(model, network=network)


CALLS = {
    "trace": convlens.trace,
    "anatomy": convlens.anatomy,
    "predict": lambda model: convlens.predict(model, images()),
    "filters": convlens.filters,
    "filters_over_training": lambda model: convlens.filters_over_training([(0, model), (1, model)]),
    "gradcam": lambda model: convlens.gradcam(model, images(), top=3),
    "gradcam_layers": lambda model: convlens.gradcam_layers(model, images()),
    "randomization": lambda model: convlens.randomization(model, images(), stages=2, draws=1),
    "fgsm": lambda model: convlens.fgsm(model, images()),
    "find_flip": flipped,
    "invariance": lambda model: convlens.invariance(model, images(), layer="7", top=1),
    "internal_changes": lambda model: convlens.internal_changes(
        model, convlens.fgsm(model, images())
    ),
    "equivariance": lambda model: convlens.equivariance(model, images(), shifts=[1]),
    "shift": lambda model: convlens.shift(model, images(), shifts=[1], every=2),
    "pgd": lambda model: convlens.pgd(model, images(), steps=2),
    "robustness": lambda model: convlens.robustness(model, images(), ["8/255"], pgd_steps=2),
    "error_analysis": lambda model: convlens.error_analysis(model, images(), [(0,), (1,)]),
    "patches": lambda model: convlens.patches(model, images(), top=2, show=2),
    "cut_patches": lambda model: convlens.cut_patches(
        model, convlens.patches(model, images(), top=2, show=0), {"7": [0]}, photos=images()
    ),
    "receptive_field": lambda model: convlens.receptive_field(model, images(1), layer="7"),
    "fit_gabor": convlens.fit_gabor,
    "filters_by_kind": convlens.filters_by_kind,
    "dream": lambda model: convlens.dream(model, images(1), layer="7", octaves=1, steps=1),
    "orientation_tuning": lambda model: convlens.orientation_tuning(
        model, layer="7", orientations=2, phases=4
    ),
    "feature_maps": lambda model: convlens.feature_maps(model, images(1)),
    "feature_detector": lambda model: convlens.feature_detector(model, images(1)),
    "image_tensor": lambda model: convlens.image_tensor(model, images(1)),
    "maximize": lambda model: convlens.maximize(model, ["7:1", "7:2@3,3", "1"], steps=2),
    "check": lambda model: convlens.check(model, photos(), [(0,), (1,)] * 3),
    "check_preprocessing": lambda model: convlens.check_preprocessing(model, photos()),
    "check_weights": convlens.check_weights,
    "missing_settings": convlens.missing_settings,
    "folder_labels": lambda model: convlens.folder_labels(["cat/1.jpg"], model),
    "effective_field": lambda model: convlens.effective_field(model, images()),
    "cka": lambda model: convlens.cka(model, changed(model), images(8)),
    "match_channels": lambda model: convlens.match_channels(model, changed(model), images(8)),
    "diff": lambda model: convlens.diff(model, changed(model), images(), parts=["cka", "gradcam"]),
    "compare_answers": lambda model: convlens.compare_answers(model, changed(model), images()),
    "compare_layers": lambda model: convlens.compare_layers(model, changed(model), images()),
    "compare_weights": lambda model: convlens.compare_weights(changed(model), model),
    "deletion_insertion": lambda model: convlens.deletion_insertion(
        model, convlens.gradcam(model, images()), steps=2
    ),
}
# Not functions of a model.
ELSEWHERE = {
    "CheckThresholds", "ConvlensError", "ConvlensWarning", "Direction", "GradCamOptions", "Model",
    "ParquetPhotos", "PassOptions", "PhotoError", "RayEngine", "Result", "TraceError",
    "boxes_on_image", "build", "cache_contents", "chapter", "clear_cache", "convolution_arithmetic",
    "convolve", "cortex", "disk_cache", "explore", "export_explorer", "gabor",
    "gabor_bank", "layer_arithmetic",
    "learn_filters", "list_models", "load", "load_checkpoints", "open_data", "pointing_game",
    "pooling_arithmetic", "read_boxes", "read_training", "register_operation", "train",
    "translation", "window_grid", "wrap",
}  # fmt: skip


def files(folder):
    paths = []
    for number, photo in enumerate(photos(3)):
        paths.append(folder / f"{number}.png")
        photo.save(paths[-1])
    return paths


def small_report(model, folder):
    with pytest.MonkeyPatch.context() as patch:
        reduce_work(patch)
        return convlens.report(model, files(folder), out=folder / "page")


WRITING = {
    "report": small_report,
    "gradcams": lambda model, folder: convlens.gradcams(model, files(folder), out=folder / "cams"),
    "attack_photos": lambda model, folder: convlens.attack_photos(
        model, files(folder)[:2], ["8/255"], out=folder / "fgsm", pgd_steps=2, internal_changes=True
    ),
}


def call(name, model, folder):
    return WRITING[name](model, folder) if name in WRITING else CALLS[name](model)


NAMES = sorted(set(dir(convlens)) - ELSEWHERE)
