"""The registry of result classes, by which a saved result finds its class again.

A saved result names its class. A class of convlens is looked up in `CONVLENS_CLASSES` and its
module is imported. A class of a user is found once the module that defines it is imported; a class
of a user and a class of convlens may have the same name without replacing each other.
"""

from importlib import import_module

from convlens.errors import ConvlensError, suggest

# All result classes of convlens with their modules. A new result class has a line here.
CONVLENS_CLASSES = {
    "Anatomy": "convlens.analyses.anatomy.result",
    "Layer": "convlens.analyses.anatomy.layer",
    "Diagnostic": "convlens.analyses.attacks.diagnostics",
    "Fgsm": "convlens.analyses.attacks.fgsm_result",
    "Flip": "convlens.analyses.attacks.flip",
    "InternalChanges": "convlens.analyses.attacks.internal_changes",
    "LayerChange": "convlens.analyses.attacks.internal_changes",
    "Pgd": "convlens.analyses.attacks.pgd",
    "ChannelChange": "convlens.analyses.attacks.photo_result",
    "PhotoAttack": "convlens.analyses.attacks.photo_result",
    "PhotoAttacks": "convlens.analyses.attacks.photo_result",
    "PhotoFlip": "convlens.analyses.attacks.photo_result",
    "Curve": "convlens.analyses.attacks.robustness",
    "Robustness": "convlens.analyses.attacks.robustness",
    "CalibrationError": "convlens.analyses.calibration.calibration_error",
    "Calibration": "convlens.analyses.calibration.result",
    "ReliabilityDiagram": "convlens.analyses.calibration.result",
    "AnswerChanges": "convlens.analyses.comparison.answers.result",
    "AnswerPair": "convlens.analyses.comparison.answers.result",
    "ChannelMatching": "convlens.analyses.comparison.similarity.channel_matching_result",
    "ChannelPair": "convlens.analyses.comparison.similarity.channel_matching_result",
    "Cka": "convlens.analyses.comparison.similarity.cka_result",
    "Diff": "convlens.analyses.comparison.result",
    "LayerDifference": "convlens.analyses.comparison.layers.layer_differences",
    "LayerDifferences": "convlens.analyses.comparison.layers.layer_differences",
    "PairedDifference": "convlens.analyses.comparison.answers.paired_difference",
    "TensorChange": "convlens.analyses.comparison.weights.weights",
    "WeightChanges": "convlens.analyses.comparison.weights.weights",
    "Cortex": "convlens.analyses.cortex.cortex",
    "Dream": "convlens.analyses.deepdream.result",
    "EffectiveField": "convlens.analyses.effective_field.result",
    "LayerEffectiveField": "convlens.analyses.effective_field.result",
    "ConfusedPair": "convlens.analyses.error_analysis.result",
    "ErrorAnalysis": "convlens.analyses.error_analysis.result",
    "ErrorCause": "convlens.analyses.error_analysis.evidence",
    "ErrorCauses": "convlens.analyses.error_analysis.evidence",
    "ErrorEvidence": "convlens.analyses.error_analysis.evidence",
    "WrongPrediction": "convlens.analyses.error_analysis.result",
    "FeatureDetector": "convlens.analyses.feature_maps.detector_result",
    "FeatureMaps": "convlens.analyses.feature_maps.feature_maps",
    "Filters": "convlens.analyses.filters.filters",
    "FiltersOverTraining": "convlens.analyses.filters.over_training",
    "GaborBank": "convlens.analyses.gabor.bank",
    "GaborFit": "convlens.analyses.gabor.result",
    "GradCams": "convlens.analyses.gradcam.dataset_result",
    "DeletionInsertion": "convlens.analyses.gradcam.deletion_insertion",
    "PointingGame": "convlens.analyses.gradcam.pointing_game",
    "PointingTotals": "convlens.analyses.gradcam.pointing_game",
    "Randomization": "convlens.analyses.gradcam.randomization_result",
    "ChannelShare": "convlens.analyses.gradcam.result",
    "GradCam": "convlens.analyses.gradcam.result",
    "GradCamLayers": "convlens.analyses.gradcam.layers_result",
    "MapStatistics": "convlens.analyses.gradcam.result",
    "ImageTensor": "convlens.analyses.image_tensor.image_tensor",
    "Invariance": "convlens.analyses.invariance.invariance",
    "MaximizedImages": "convlens.analyses.maximize.result",
    "ObjectiveMaximum": "convlens.analyses.maximize.result",
    "CheckFinding": "convlens.analyses.model_check.result",
    "ModelCheck": "convlens.analyses.model_check.result",
    "OrientationTuning": "convlens.analyses.orientation_tuning.result",
    "CropCheck": "convlens.analyses.patches.crop_check_result",
    "ChannelPatches": "convlens.analyses.patches.result",
    "LayerPatches": "convlens.analyses.patches.result",
    "Patches": "convlens.analyses.patches.result",
    "Predictions": "convlens.analyses.predictions.predictions",
    "Diagnosis": "convlens.analyses.preprocessing_check.result",
    "VariantScore": "convlens.analyses.preprocessing_check.result",
    "ReceptiveField": "convlens.analyses.receptive_field.field",
    "Consistency": "convlens.analyses.shift.consistency",
    "Equivariance": "convlens.analyses.shift.equivariance",
    "LayerEquivariance": "convlens.analyses.shift.equivariance",
    "OffsetMap": "convlens.analyses.shift.offset_map",
    "Shift": "convlens.analyses.shift.shift",
    "Translation": "convlens.analyses.shift.translation",
    "WeightsCheck": "convlens.analyses.weights_check.weights_check",
    "ConvolutionArithmetic": "convlens.analyses.worked_examples.convolution",
    "LayerArithmetic": "convlens.analyses.worked_examples.layer",
    "PoolingArithmetic": "convlens.analyses.worked_examples.pooling",
    "WindowGrid": "convlens.analyses.worked_examples.window_grid",
    "FlipSummary": "convlens.page.photo_cards",
    "PhotoCard": "convlens.page.photo_cards",
    "PhotoCards": "convlens.page.photo_cards",
    "Finding": "convlens.page.result",
    "Report": "convlens.page.result",
    "ReportPhoto": "convlens.page.result",
    "Reproduction": "convlens.results.reproduction",
    "SkippedPhoto": "convlens.page.result",
    "Subject": "convlens.page.result",
    "Tile": "convlens.page.result",
    "Channels": "convlens.page.sections.channels",
    "LayerMaps": "convlens.page.sections.feature_maps",
    "PhotoMaps": "convlens.page.sections.feature_maps",
    "FiltersResult": "convlens.page.sections.filters",
    "GaborResult": "convlens.page.sections.gabor",
    "AttackSlides": "convlens.page.sections.robustness",
    "RobustnessResult": "convlens.page.sections.robustness",
    "ShiftResult": "convlens.page.sections.shift",
    "TrainingResult": "convlens.page.sections.training",
    "LayerCounts": "convlens.page.sections.simple_complex",
    "SimpleComplex": "convlens.page.sections.simple_complex",
    "Proportion": "convlens.passes.proportion",
    "NetworkResult": "convlens.results.network_result",
    "Chapter": "convlens.textbook.chapter",
    "ChapterFigure": "convlens.textbook.chapter",
    "Training": "convlens.training.result",
}

user_classes: dict[tuple[str, str], type] = {}  # by module and name


def register_class(cls: type) -> None:
    """Remember a result class, so that its results can be loaded."""
    if not is_convlens_class(cls):
        user_classes[cls.__module__, cls.__name__] = cls


def is_convlens_class(cls: type) -> bool:
    """Whether a class is the one that `CONVLENS_CLASSES` lists under its name."""
    return CONVLENS_CLASSES.get(cls.__name__) == cls.__module__


def find_result_class(name: str, module: str | None) -> type:
    """The class of a saved result.

    Args:
        name: name of the class.
        module: the module that defined a user's class when the result was saved; None for a class
            of convlens. If that module defines no such class now, the only class of that name
            counts, because a script is called `__main__` at one time and by its name at another.

    Raises:
        ConvlensError: if there is no such class, or several of that name. The message is the end
            of a sentence that begins with the result.
    """
    if module is None:
        if name not in CONVLENS_CLASSES:
            raise ConvlensError(
                f"is a {name}, which this convlens does not have{suggest(name, CONVLENS_CLASSES)}"
            )
        cls: type = getattr(import_module(CONVLENS_CLASSES[name]), name)
        return cls
    if (module, name) in user_classes:
        return user_classes[module, name]
    classes = [cls for (_, known), cls in user_classes.items() if known == name]
    if not classes:
        close = suggest(name, [known for _, known in user_classes])
        raise ConvlensError(f"is a {name}; import the module that defines it, {module}{close}")
    if len(classes) > 1:
        modules = ", ".join(sorted(cls.__module__ for cls in classes))
        raise ConvlensError(
            f"is a {name} of the module {module}, and classes of that name are in {modules}; "
            f"import {module}"
        )
    return classes[0]
