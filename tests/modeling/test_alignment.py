import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from skyeye_det.errors import InputError
from skyeye_det.modeling.alignment import ALIGNMENTS, MAX_SHIFT, build_alignment

RESOLUTION = 7
INSIDE = slice(MAX_SHIFT, RESOLUTION - MAX_SHIFT)


def pooled(buildings: int = 3, channels: int = 8, side: int = RESOLUTION) -> Tensor:
    return torch.randn(buildings, channels, side, side, generator=torch.Generator().manual_seed(0))


def shifted(side: int, dx: int, dy: int) -> tuple[Tensor, Tensor]:
    """Two windows on one map: what lies at (x, y) of the first lies at (x + dx, y + dy) of the second."""
    whole, margin = pooled(side=side + 2 * MAX_SHIFT), MAX_SHIFT
    pre = whole[:, :, margin : margin + side, margin : margin + side]
    return pre, whole[:, :, margin - dy : margin - dy + side, margin - dx : margin - dx + side]


@pytest.mark.parametrize("name", ALIGNMENTS)
@pytest.mark.parametrize("buildings", [0, 1, 3])
def test_alignment_keeps_the_shape_and_reaches_its_parameters(name: str, buildings: int) -> None:
    alignment = build_alignment(name, 8, RESOLUTION)
    pre, post = pooled(buildings), pooled(buildings).flip(1).requires_grad_()
    found = alignment(pre, post)
    assert found.shape == (buildings, 8, RESOLUTION, RESOLUTION)
    (found * torch.arange(8)[:, None, None]).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in alignment.parameters())
    assert post.grad is not None
    assert post.grad.any() == (buildings > 0)
    if buildings:
        last = [
            p for key, p in alignment.named_parameters() if not key.startswith(("offsets.0", "offsets.2"))
        ]
        assert all(p.grad.any() for p in last)


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_registered_images_stay_as_they_are(name: str) -> None:
    post = pooled()
    found = build_alignment(name, 8, RESOLUTION)(post, post)
    torch.testing.assert_close(found, post, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ALIGNMENTS)
def test_black_images_give_finite_values_and_gradients(name: str) -> None:
    alignment = build_alignment(name, 8, RESOLUTION)
    black = torch.zeros(2, 8, RESOLUTION, RESOLUTION, requires_grad=True)
    found = alignment(black, black)
    found.sum().backward()
    assert not found.any()
    assert black.grad is not None
    assert black.grad.isfinite().all()


def test_deformable_starts_as_the_identity_on_any_pair() -> None:
    found = build_alignment("deformable", 8, RESOLUTION)(pooled(), pooled().flip(1))
    torch.testing.assert_close(found, pooled().flip(1))


def test_deformable_reads_where_torchvision_does() -> None:
    alignment = build_alignment("deformable", 8, RESOLUTION)
    torch.nn.init.normal_(alignment.offsets[-1].weight, std=0.02)
    pre, post = pooled(), pooled().flip(1)
    offsets = MAX_SHIFT * alignment.offsets(torch.cat([pre, post], dim=1)).tanh()
    assert offsets.std() > 0.1
    one_bin = torch.eye(8)[:, :, None, None]
    wanted = deform_conv2d(post, offsets.flip(1), one_bin)  # torchvision's offsets are (dy, dx)
    found = alignment(pre, post)
    torch.testing.assert_close(found[:, :, INSIDE, INSIDE], wanted[:, :, INSIDE, INSIDE])


def test_deformable_looks_no_farther_than_its_reach_and_repeats_the_edge() -> None:
    alignment = build_alignment("deformable", 1, RESOLUTION)
    torch.nn.init.constant_(alignment.offsets[-1].bias, 50.0)
    bins = torch.arange(RESOLUTION)
    post = (10.0 * bins[:, None] + bins + 1)[None, None]
    reached = (bins + MAX_SHIFT).clamp(max=RESOLUTION - 1)
    torch.testing.assert_close(alignment(post, post), post[:, :, reached][..., reached])


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (2, -2), (-1, 2)])
def test_correlation_undoes_a_shift_untrained(dx: int, dy: int) -> None:
    pre, post = shifted(RESOLUTION, dx, dy)
    alignment = build_alignment("correlation", 8, RESOLUTION)
    found = alignment(pre, post)[:, :, INSIDE, INSIDE]
    wanted = pre[:, :, INSIDE, INSIDE]
    before = (post[:, :, INSIDE, INSIDE] - wanted).abs().mean()
    assert (found - wanted).abs().mean() < 0.01 * before


def test_correlation_says_how_far_post_has_moved() -> None:
    weights = build_alignment("correlation", 8, RESOLUTION).shift_weights(*shifted(RESOLUTION, 1, -2))
    side = 2 * MAX_SHIFT + 1
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert weights.argmax(dim=1).tolist() == [(MAX_SHIFT - 2) * side + MAX_SHIFT + 1] * 3


def test_correlation_is_blind_to_brightness() -> None:
    alignment = build_alignment("correlation", 8, RESOLUTION)
    pre, post = shifted(RESOLUTION, 1, 1)
    torch.testing.assert_close(alignment.shift_weights(pre, 5 * post), alignment.shift_weights(pre, post))


def test_correlation_repeats_the_edge_where_post_has_moved_out() -> None:
    pre, post = shifted(RESOLUTION, 2, 0)
    found = build_alignment("correlation", 8, RESOLUTION)(pre, post)
    torch.testing.assert_close(found[..., -1], post[..., -1], atol=0.02, rtol=0)


def test_correlation_stays_where_nothing_can_be_told() -> None:
    alignment = build_alignment("correlation", 8, RESOLUTION)
    flat = torch.ones(1, 8, RESOLUTION, RESOLUTION)
    assert alignment.shift_weights(flat, flat).argmax().item() == (2 * MAX_SHIFT + 1) ** 2 // 2


@pytest.mark.parametrize("resolution", [1, 2, 14])
def test_correlation_takes_any_number_of_bins(resolution: int) -> None:
    post = pooled(side=resolution)
    found = build_alignment("correlation", 8, resolution)(post, post)
    torch.testing.assert_close(found, post, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("moved", "sign"), [(True, -1), (False, 1)])
def test_correlation_can_be_trained_to_move_or_to_stay(moved: bool, sign: int) -> None:
    alignment = build_alignment("correlation", 8, RESOLUTION)
    torch.nn.init.constant_(alignment.log_scale, 1.0)
    pre, post = shifted(RESOLUTION, 1, 0)
    (alignment(pre, post) - (pre if moved else post)).square().sum().backward()
    assert alignment.stay.grad.sign() == -alignment.log_scale.grad.sign() == -sign


def test_unknown_alignment_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"ALIGNMENT: expected one of .*correlation.*found 'flow'"):
        build_alignment("flow", 8, RESOLUTION)
