"""Object context: the buildings of one tile attend to each other before they are graded.

Neighbours share a flood or a fire front. Relations of objects by attention: Vaswani et al. 2017
(arXiv:1706.03762), Hu et al. 2018 (relation networks, arXiv:1711.11575), Yuan et al. 2018 and 2020 (object
context, arXiv:1809.00916; object-contextual representations, arXiv:1909.11065).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from skyeye_det.errors import InputError

HEADS = 4

_NEAR = 32.0
"""Distance in px, about the side of a building, from which on a neighbour counts as farther away."""


class ObjectContext(nn.Module):
    """Multi-head attention over the buildings of an image, added to their feature vectors.

    Each head has a slope by which a neighbour's logit falls with the logarithm of the distance of the two box
    centres (cf. the linear slopes of Press et al. 2022, arXiv:2108.12409). Normalised before the
    attention (Xiong et al. 2020, arXiv:2002.04745); the output layer is zero at first, so the module starts
    as the identity. Memory grows with the square of the buildings of an image.

    In training the buildings are the foreground proposals, several of which overlap one building and share
    its grade: attention then also averages over proposals of the same building, which inference, after NMS,
    does not offer.

    Args:
        dim: D, length of the feature vector of a building.

    Raises:
        InputError: D is not a multiple of ``HEADS``.
    """

    def __init__(self, dim: int):
        super().__init__()
        if dim % HEADS:
            raise InputError(
                "MODEL.DAMAGE_HEAD.OBJECT_CONTEXT: expected MODEL.DAMAGE_HEAD.FC_DIM to be a multiple of "
                f"{HEADS} (heads), found {dim}"
            )
        self.norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.output = nn.Linear(dim, dim)
        nn.init.xavier_uniform_(self.qkv.weight)
        for zero in (self.qkv.bias, self.output.weight, self.output.bias):
            nn.init.zeros_(zero)
        self.slopes = nn.Parameter(2.0 ** -torch.arange(HEADS).float())

    def forward(self, features: Tensor, boxes: list[Tensor]) -> Tensor:
        """Lets the buildings of each image see each other.

        Args:
            features: (M, D), image by image.
            boxes: an image's M_i boxes, (M_i, 4) XYXY px; M_i may be 0, the sum of all M_i is M.

        Returns:
            (M, D).
        """
        counts = [len(found) for found in boxes]
        padded = pad_sequence(list(self.qkv(self.norm(features)).split(counts)), batch_first=True)
        real = pad_sequence(
            [features.new_ones(count, dtype=torch.bool) for count in counts], batch_first=True
        )
        queries, keys, values = padded.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        bias = self._distance_bias(pad_sequence(boxes, batch_first=True)).to(queries.dtype)
        # Not minus infinity: an image without buildings, beside others, has a row of nothing else, of which
        # some versions and devices make nan.
        bias = bias.masked_fill(~real[:, None, None, :], torch.finfo(bias.dtype).min)
        seen = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
        return features + self.output(seen.transpose(1, 2).flatten(2)[real])

    def _distance_bias(self, boxes: Tensor) -> Tensor:
        """(B, L, 4) boxes -> (B, HEADS, L, L) float32."""
        centres = (boxes[..., :2] + boxes[..., 2:]).detach().float() / 2
        apart = torch.linalg.vector_norm(centres[:, :, None] - centres[:, None], dim=-1)
        return -self.slopes[:, None, None] * torch.log1p(apart / _NEAR)[:, None]
