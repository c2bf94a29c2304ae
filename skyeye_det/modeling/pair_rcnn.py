"""Meta-architecture: Mask R-CNN over pairs whose instances keep their small masks."""

from detectron2.modeling import META_ARCH_REGISTRY, GeneralizedRCNN
from detectron2.structures import ImageList, Instances
from torch import Tensor


@META_ARCH_REGISTRY.register()
class PairRCNN(GeneralizedRCNN):
    """GeneralizedRCNN whose inference leaves masks in their boxes.

    Input: detectron2's dicts, ``image`` (6, H, W) with pre-disaster channels first. Output in inference: a
    dict a pair with ``instances``: ``pred_boxes`` (M, 4) XYXY px of the window, ``scores`` (M,),
    ``pred_classes`` (M,), ``pred_masks`` (M, 1, S, S) probabilities inside the box, ``pred_damage_probs``
    (M, 4), ``pred_damage`` (M,), ``pred_features`` (M, D); and ``proposals``: ``proposal_boxes`` (P, 4)
    likewise and ``objectness_logits`` (P,). Pasting 1,000 masks into the image takes over 1 GB;
    :mod:`skyeye_det.prediction` works inside the boxes.
    """

    def inference(self, batched_inputs: list[dict]) -> list[dict]:
        """See the class."""
        return self.find(*self.look(batched_inputs))

    def look(self, batched_inputs: list[dict]) -> tuple[ImageList, dict[str, Tensor]]:
        """What all heads read of pairs: the images, and their features, nine tenths of the cost."""
        images = self.preprocess_image(batched_inputs)
        return images, self.features(images)

    def find(self, images: ImageList, features: dict[str, Tensor]) -> list[dict]:
        """What inference gives, from what ``look`` gave."""
        proposals, _ = self.proposal_generator(images, features, None)
        found, _ = self.roi_heads(images, features, proposals, None)
        return [
            {"instances": instances, "proposals": offered}
            for instances, offered in zip(found, proposals, strict=True)
        ]

    def features(self, images: ImageList) -> dict[str, Tensor]:
        """What the heads read of the images."""
        return dict(self.backbone(images.tensor))

    def classify(self, features: dict[str, Tensor], footprints: list[Instances]) -> list[Instances]:
        """Damage of known buildings.

        Args:
            features: of ``look``.
            footprints: with ``pred_boxes`` (M, 4) XYXY px of the window and ``pred_masks`` (M, 1, S, S).

        Returns:
            The same, with ``pred_damage_probs``, ``pred_damage`` and ``pred_features``.
        """
        return self.roi_heads.classify(features, [each.to(self.device) for each in footprints])
