"""The public names of convlens: the one list of them, read by type checkers and at run time.

`__init__.py` reads this file with `lazy_loader.attach_stub`, which imports the module of a name
when the name is first used. To add a public name, add its line here and nothing elsewhere.
"""

from .analyses.anatomy.anatomy import anatomy as anatomy
from .analyses.attacks.dataset_pass import robustness as robustness
from .analyses.attacks.fgsm import fgsm as fgsm
from .analyses.attacks.flip import find_flip as find_flip
from .analyses.attacks.internal_changes import internal_changes as internal_changes
from .analyses.attacks.pgd import pgd as pgd
from .analyses.attacks.photo_attacks import attack_photos as attack_photos
from .analyses.comparison.answers.answers import compare_answers as compare_answers
from .analyses.comparison.diff import diff as diff
from .analyses.comparison.layers.layer_comparison import compare_layers as compare_layers
from .analyses.comparison.similarity.channel_matching import match_channels as match_channels
from .analyses.comparison.similarity.cka import cka as cka
from .analyses.comparison.weights.weights import compare_weights as compare_weights
from .analyses.cortex.cortex import cortex as cortex
from .analyses.deepdream.deepdream import dream as dream
from .analyses.effective_field.effective_field import effective_field as effective_field
from .analyses.error_analysis.dataset_pass import error_analysis as error_analysis
from .analyses.feature_maps.convolution import convolve as convolve
from .analyses.feature_maps.feature_detector import feature_detector as feature_detector
from .analyses.feature_maps.feature_maps import feature_maps as feature_maps
from .analyses.filters.filters import filters as filters
from .analyses.filters.over_training import filters_over_training as filters_over_training
from .analyses.gabor.bank import gabor_bank as gabor_bank
from .analyses.gabor.fit import filters_by_kind as filters_by_kind
from .analyses.gabor.fit import fit_gabor as fit_gabor
from .analyses.gabor.function import gabor as gabor
from .analyses.gradcam.boxes import boxes_on_image as boxes_on_image
from .analyses.gradcam.boxes import read_boxes as read_boxes
from .analyses.gradcam.dataset_pass import gradcams as gradcams
from .analyses.gradcam.deletion_insertion import deletion_insertion as deletion_insertion
from .analyses.gradcam.gradcam import gradcam as gradcam
from .analyses.gradcam.gradcam import gradcam_layers as gradcam_layers
from .analyses.gradcam.options import GradCamOptions as GradCamOptions
from .analyses.gradcam.pointing_game import pointing_game as pointing_game
from .analyses.gradcam.randomization import randomization as randomization
from .analyses.image_tensor.image_tensor import image_tensor as image_tensor
from .analyses.invariance.dataset_pass import invariance as invariance
from .analyses.maximize.maximize import maximize as maximize
from .analyses.maximize.objectives import Direction as Direction
from .analyses.missing_settings.missing_settings import missing_settings as missing_settings
from .analyses.model_check.model_check import check as check
from .analyses.model_check.thresholds import CheckThresholds as CheckThresholds
from .analyses.orientation_tuning.orientation_tuning import orientation_tuning as orientation_tuning
from .analyses.patches.cut import cut_patches as cut_patches
from .analyses.patches.dataset_pass import patches as patches
from .analyses.predictions.predictions import predict as predict
from .analyses.preprocessing_check.preprocessing_check import (
    check_preprocessing as check_preprocessing,
)
from .analyses.receptive_field.field import receptive_field as receptive_field
from .analyses.shift.dataset_pass import shift as shift
from .analyses.shift.equivariance import equivariance as equivariance
from .analyses.shift.translation import translation as translation
from .analyses.weights_check.weights_check import check_weights as check_weights
from .analyses.worked_examples.convolution import convolution_arithmetic as convolution_arithmetic
from .analyses.worked_examples.layer import layer_arithmetic as layer_arithmetic
from .analyses.worked_examples.pooling import pooling_arithmetic as pooling_arithmetic
from .analyses.worked_examples.window_grid import window_grid as window_grid
from .cache.contents import cache_contents as cache_contents
from .cache.contents import clear_cache as clear_cache
from .cache.folder import disk_cache as disk_cache
from .data.datasets.parquet import ParquetPhotos as ParquetPhotos
from .errors import ConvlensError as ConvlensError
from .errors import ConvlensWarning as ConvlensWarning
from .errors import PhotoError as PhotoError
from .errors import TraceError as TraceError
from .explorer.explore import explore as explore
from .explorer.explore import export_explorer as export_explorer
from .models.folder_labels import folder_labels as folder_labels
from .models.loading.checkpoints import load_checkpoints as load_checkpoints
from .models.loading.load import list_models as list_models
from .models.loading.load import load as load
from .models.model import Model as Model
from .models.networks.build import build as build
from .models.wrap import wrap as wrap
from .page.report import report as report
from .passes.options import PassOptions as PassOptions
from .passes.ray.engine import RayEngine as RayEngine
from .results import Result as Result
from .textbook.chapter import chapter as chapter
from .tracing.registry import register_operation as register_operation
from .tracing.tracer import trace as trace
from .training import open_data as open_data
from .training import read_training as read_training
from .training import train as train
from .training.filter_learning import learn_filters as learn_filters

__version__: str
