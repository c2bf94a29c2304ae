"""From a model's output for one pair to a prediction, whichever model it was."""

from collections.abc import Mapping
from typing import Any

from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.instance_prediction import TilePrediction
from skyeye_det.prediction.merging import Prediction
from skyeye_det.prediction.pixel_prediction import PixelPrediction


def prediction_from_output(output: Mapping[str, Any]) -> Prediction:
    """Takes over ``instances``, with the hybrid's ``building_map``, or a semantic model's ``pixel_probs``."""
    if "pixel_probs" in output:
        return PixelPrediction.from_pixel_probs(output["pixel_probs"])
    return TilePrediction.from_instances(output["instances"], output.get("building_map"))


def graded(prediction: Prediction, rule: DecisionRule) -> Prediction:
    """The instances that results list, with calibrated damage probabilities and the rule's class.

    A semantic model's come to be by the rule's thresholds; the others are ``TilePrediction.graded``.
    """
    if isinstance(prediction, PixelPrediction):
        return prediction.decided(rule)
    return prediction.graded(rule)
