import pytest
import torch

from skyeye_det.errors import InputError
from skyeye_det.modeling.fusion import FUSIONS, AttentionFusion, build_fusion


@pytest.mark.parametrize("name", FUSIONS)
@pytest.mark.parametrize("buildings", [0, 1, 3])
def test_fusion_keeps_the_bins_and_says_its_channels(name: str, buildings: int) -> None:
    fusion = build_fusion(name, 8, 5)
    found = fusion(torch.randn(buildings, 8, 5, 5), torch.randn(buildings, 8, 5, 5))
    assert found.shape == (buildings, fusion.out_channels, 5, 5)


@pytest.mark.parametrize("name", ["concat_diff", "attention"])
def test_difference_is_the_last_third(name: str) -> None:
    pre, post = torch.randn(2, 8, 3, 3), torch.randn(2, 8, 3, 3)
    first, second, difference = build_fusion(name, 8, 3)(pre, post).chunk(3, dim=1)
    torch.testing.assert_close(first, pre)
    torch.testing.assert_close(difference, second - pre)


def test_concatenation_is_pre_beside_post() -> None:
    pre, post = torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    found = build_fusion("concat", 4, 3)(pre, post)
    torch.testing.assert_close(found, torch.cat([pre, post], dim=1))


def matching_attention(channels: int, resolution: int) -> AttentionFusion:
    """Weights that compare features as they are, sharply, and ignore positions."""
    fusion = AttentionFusion(channels, resolution, heads=1)
    with torch.no_grad():
        same = torch.eye(channels)
        fusion.attention.in_proj_weight.copy_(torch.cat([100 * same, same, same]))
        fusion.attention.in_proj_bias.zero_()
        fusion.attention.out_proj.weight.copy_(same)
        fusion.attention.out_proj.bias.zero_()
        fusion.positions.zero_()
    return fusion


def test_attention_can_undo_a_shift_that_concatenation_takes_for_change() -> None:
    bins = torch.eye(25).reshape(1, 5, 5, 25).permute(0, 3, 1, 2)  # each bin has a feature of its own
    shifted = bins.roll((1, 2), dims=(2, 3))
    aligned = matching_attention(25, 5)(bins, shifted).chunk(3, dim=1)[2]
    plain = build_fusion("concat_diff", 25, 5)(bins, shifted).chunk(3, dim=1)[2]
    assert plain.abs().max() == 1
    assert aligned.abs().max() < 1e-3


def test_attention_sees_all_post_bins() -> None:
    pre = torch.randn(1, 8, 3, 3)
    post = torch.randn(1, 8, 3, 3, requires_grad=True)
    fusion = build_fusion("attention", 8, 3)
    fusion(pre, post)[0, 8:16, 0, 0].sum().backward()
    assert post.grad is not None
    assert (post.grad.abs().sum(dim=(0, 1)) > 0).all()


def test_unknown_fusion_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"FUSION: expected one of .*concat_diff.*found 'sum'"):
        build_fusion("sum", 8, 3)


def test_attention_wants_channels_for_its_heads() -> None:
    with pytest.raises(InputError, match=r"multiple of 4 \(heads\), found 6"):
        build_fusion("attention", 6, 3)
