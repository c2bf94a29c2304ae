"""What is cut at a limit is cut by score, wherever in the image it lies."""

import torch
from detectron2.structures import Boxes, Instances
from tiny_model import tiny_config

from skyeye_det.engine.setup import build_pair_model

SIDE = 1280
LIMIT = 1000


def test_components_and_proposals_are_cut_by_score_and_not_by_place() -> None:
    # 1,600 components came before all proposals, in the order of their labels: none below row 792 survived
    model = build_pair_model(tiny_config(MODEL__RPN__POST_NMS_TOPK_TEST=LIMIT)).eval()
    generator = torch.Generator().manual_seed(3)
    corner = torch.arange(1600)
    place = torch.stack([corner % 40, corner // 40], dim=1) * 32.0
    components = Instances((SIDE, SIDE))
    components.pred_boxes = Boxes(torch.cat([place, place + 20], dim=1))
    components.scores = 0.3 + 0.7 * torch.rand(1600, generator=generator)
    proposals = Instances((SIDE, SIDE))
    proposals.proposal_boxes = Boxes(torch.tensor([[0.0, 0, 9, 9]]).repeat(500, 1))
    proposals.objectness_logits = torch.linspace(8, -8, 500)
    kept = model._with_components(proposals, components)
    assert len(kept) == LIMIT
    logits = torch.cat([torch.logit(components.scores, eps=1e-4), proposals.objectness_logits])
    assert kept.objectness_logits.tolist() == logits.sort(descending=True).values[:LIMIT].tolist()
    rows = kept.proposal_boxes.tensor[:, 1]
    below = ((rows > SIDE / 2) & (kept.proposal_boxes.tensor[:, 2] != 9)).sum()
    assert 350 < below < 450
