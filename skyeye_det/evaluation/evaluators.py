"""detectron2 evaluators: the xView2 score by pixels, AP and recall by buildings."""

from collections import OrderedDict
from typing import Any

from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm

from skyeye_det.evaluation.instance_metrics import average_precision
from skyeye_det.evaluation.official_truth import official_truth, paint_annotations
from skyeye_det.evaluation.xview2_metrics import PixelCounts, count_pixels
from skyeye_det.postprocessing.decision import DecisionRule
from skyeye_det.postprocessing.model_output import prediction_from_output


class XView2Evaluator(DatasetEvaluator):
    """Official score of the instances painted as competition images.

    The damage target is painted from the pre outlines, since the COCO file has no others; the official one
    follows the post file, a fraction of a pixel apart. ``tools/score_submission.py`` gives the official
    figure.

    Args:
        dataset_dicts: the data set, with ``image_id``, ``height``, ``width`` and ``annotations``.
        rule: what is painted, and how.
    """

    def __init__(self, dataset_dicts: list[dict[str, Any]], rule: DecisionRule):
        self._tiles = {tile["image_id"]: tile for tile in dataset_dicts}
        self._rule = rule
        self.reset()

    def reset(self) -> None:
        """Forgets the tiles counted so far."""
        self._counts = PixelCounts.zero()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Counts the pixels of each tile."""
        for tile, output in zip(inputs, outputs, strict=True):
            prediction = prediction_from_output(output)
            target = paint_annotations(self._tiles[tile["image_id"]])
            self._counts += count_pixels(*prediction.rasterize(self._rule), *target)

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Gives ``{"xview2": {score, localization_f1, damage_f1, damage_f1_<class>}}`` on the main worker."""
        gathered = comm.gather(self._counts)
        if not comm.is_main_process():
            return {}
        return {"xview2": PixelCounts.total(gathered).score()}


class BuildingEvaluator(DatasetEvaluator):
    """Mask AP and recall of buildings of any damage, up to 1,000 a tile.

    Truth follows the official fill rule, as the masks that the model learns; COCO's own polygon rule gives
    masks a pixel smaller, which on a 30 px building costs a tenth of its area.

    Args:
        dataset_dicts: as for XView2Evaluator.
    """

    def __init__(self, dataset_dicts: list[dict[str, Any]]):
        self._tiles = dataset_dicts
        self.reset()

    def reset(self) -> None:
        """Forgets the tiles seen so far."""
        self._results: list[dict[str, Any]] = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keeps the run lengths of each tile's instances."""
        for tile, output in zip(inputs, outputs, strict=True):
            prediction = prediction_from_output(output)
            self._results += prediction.coco_results(tile["scene"], tile["image_id"], tile["file_name"])

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Gives ``{"segm": {AP, AP50, AP75, recall50, recall50_<size>}}``, 0..100, on the main worker."""
        gathered = comm.gather(self._results)
        if not comm.is_main_process():
            return {}
        results = [result for part in gathered for result in part]
        return OrderedDict(segm=average_precision(official_truth(self._tiles), results))
