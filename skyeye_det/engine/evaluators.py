"""detectron2 evaluators: the xView2 score by pixels, AP and recall by buildings.

Their outputs are those of ``DecidingModel``: ``buildings`` of each pair and, of a model that has them,
``proposals``.
"""

from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np
from detectron2.evaluation import DatasetEvaluator
from detectron2.utils import comm
from numpy.typing import NDArray
from torch import nn

from skyeye_det.data.targets import scene_targets
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.stitch import decide_windows
from skyeye_det.engine.models import as_input
from skyeye_det.evaluation.instance_metrics import average_precision, count_proposals, proposal_figures
from skyeye_det.evaluation.truth import annotated_buildings
from skyeye_det.prediction.prediction import prediction_from_output
from skyeye_det.prediction.visibility import shares_in, visible
from skyeye_det.prediction.windows import cut_windows
from skyeye_det.xview2.score import PixelCounts, count_pixels


class XView2Evaluator(DatasetEvaluator):
    """Official score of the buildings, rasterized as competition images.

    The damage target is painted from the pre outlines, since the COCO file has no others; the official one
    follows the post file, a fraction of a pixel apart. ``tools/score_submission.py`` gives the official
    figure.

    Args:
        dataset_dicts: the data set, with ``image_id``, ``height``, ``width`` and ``annotations``.
    """

    def __init__(self, dataset_dicts: list[dict[str, Any]]):
        self._tiles = {tile["image_id"]: tile for tile in dataset_dicts}
        self.reset()

    def reset(self) -> None:
        """Forgets the tiles counted so far."""
        self._counts = PixelCounts.zero()

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Counts the pixels of each tile."""
        for tile, output in zip(inputs, outputs, strict=True):
            truth = self._tiles[tile["image_id"]]
            target = scene_targets(annotated_buildings(truth), (truth["height"], truth["width"]))
            localization, damage = output["buildings"].rasterize()
            self._counts += count_pixels(localization, damage, *target)

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Gives ``{"xview2": {score, localization_f1, damage_f1, damage_f1_<class>}}`` on the main worker."""
        gathered = comm.gather(self._counts)
        if not comm.is_main_process():
            return {}
        return {"xview2": PixelCounts.total(gathered).score()}


class BuildingEvaluator(DatasetEvaluator):
    """Mask AP and recall of buildings of any damage, up to 1,000 a tile, and recall of the proposals.

    Truth follows the official fill rule, as the masks that the model learns; COCO's own polygon rule gives
    masks a pixel smaller, which on a 30 px building costs a tenth of its area.

    Figures, in percent; NaN where the truth has no building (of that size):

    * ``AP``, ``AP50``, ``AP75``, ``AP_<size>``: COCO's average precision of masks, of the buildings and of
      the candidates that the rule left out; those of a semantic model are connected regions,
      scored by their mean probability.
    * ``AR``, ``AR_<size>``: COCO's average recall.
    * ``recall50``, ``recall50_<size>``: share of the true buildings found with a mask IoU of at least 0.5.
    * ``proposal_recall50``, ``proposal_recall50_<size>``: share of the true buildings whose box, around the
      official mask, a proposal meets with an IoU of at least 0.5, one to one or not. Only of models whose
      output has ``proposals``: a building that none meets cannot be found by the instances.

    ``<size>`` is ``below_16``, ``16_32`` or ``above_32``: side in px of the square of the mask's area.

    Args:
        dataset_dicts: as for XView2Evaluator.
    """

    def __init__(self, dataset_dicts: list[dict[str, Any]]):
        self._tiles = {tile["image_id"]: tile for tile in dataset_dicts}
        self.reset()

    def reset(self) -> None:
        """Forgets the tiles seen so far."""
        self._results: list[dict[str, Any]] = []
        self._proposals: list[NDArray[np.int64]] = []

    def process(self, inputs: list[dict], outputs: list[dict]) -> None:
        """Keeps the run lengths of each tile's instances, and how many buildings its proposals meet."""
        for tile, output in zip(inputs, outputs, strict=True):
            found = output["buildings"]
            for listed in (found, found.candidates):
                if listed is not None:
                    self._results += listed.to_coco(tile["scene"], tile["image_id"], tile["file_name"])
            if "proposals" in output:
                boxes = output["proposals"].proposal_boxes.tensor.float().cpu().numpy()
                self._proposals.append(count_proposals(self._tiles[tile["image_id"]], boxes))

    def evaluate(self) -> dict[str, dict[str, float]]:
        """Gives ``{"segm": figures}``, see the class, on the main worker."""
        gathered = comm.gather((self._results, self._proposals))
        if not comm.is_main_process():
            return {}
        results = [result for part, _ in gathered for result in part]
        figures = average_precision(self._tiles.values(), results)
        proposals = [counts for _, part in gathered for counts in part]
        if proposals:
            figures |= proposal_figures(np.sum(proposals, axis=0))
        return OrderedDict(segm=figures)


class DecidingModel(nn.Module):
    """A network whose output is buildings, for detectron2's evaluation loop.

    Args:
        network: of ``build_pair_model``.
        rule: to decide by.
    """

    def __init__(self, network: nn.Module, rule: DecisionRule):
        super().__init__()
        self.network, self._rule = network, rule

    def forward(self, batched_inputs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """A dict a pair with ``buildings`` and, of a single window, the network's ``proposals``."""
        outputs: list[dict[str, Any]] = []
        for pair in batched_inputs:
            image = pair["image"].numpy()
            shape = image.shape[1], image.shape[2]
            windows, found = cut_windows(shape), []
            for window in windows:
                (seen,) = self.network([as_input(window.of(image))])
                found.append((window, prediction_from_output(seen)))
            buildings = decide_windows(found, shape, self._rule)
            outputs.append(
                {"buildings": buildings.graded_where_seen(partial(shares_in, seen=visible(image)))}
            )
            if len(windows) == 1 and "proposals" in seen:
                outputs[-1]["proposals"] = seen["proposals"]
        return outputs
