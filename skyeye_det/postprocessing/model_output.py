"""From a model's output for one pair to a prediction, whichever model it was."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from skyeye_det.postprocessing.decision import DecisionRule
from skyeye_det.postprocessing.merging import Prediction
from skyeye_det.postprocessing.pixel_prediction import PixelPrediction
from skyeye_det.postprocessing.tile_prediction import TilePrediction


def prediction_from_output(output: Mapping[str, Any]) -> Prediction:
    """Takes over ``instances``, with the hybrid's ``building_map``, or a semantic model's ``pixel_probs``."""
    if "pixel_probs" in output:
        return PixelPrediction.from_pixel_probs(output["pixel_probs"])
    return TilePrediction.from_instances(output["instances"], output.get("building_map"))


def graded(prediction: Prediction, rule: DecisionRule) -> Prediction:
    """Every instance, faint ones too, with calibrated damage probabilities and the rule's class.

    AP and recall are measured on all instances; those of a semantic model come to be by the rule's threshold.
    """
    if isinstance(prediction, PixelPrediction):
        return prediction.decided(rule)
    probs = prediction.damage_probs
    return replace(prediction, damage_probs=rule.calibrated(probs), damage=rule.damage(probs))
