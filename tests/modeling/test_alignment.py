import pytest
import torch
from torch import Tensor
from torchvision.ops import deform_conv2d

from skyeye_det.errors import InputError
from skyeye_det.modeling.alignment import ALIGNMENTS, MAX_SHIFT, MAX_TILE_SHIFT, build_alignment, tile_shift

RESOLUTION = 7
INSIDE = slice(MAX_SHIFT, RESOLUTION - MAX_SHIFT)


def noise(count: int = 3, height: int = RESOLUTION, width: int | None = None, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 8, height, width or height, generator=generator)


def shifted(dx: int, dy: int) -> tuple[Tensor, Tensor]:
    """Two windows on one map: what lies at (x, y) of the first lies at (x + dx, y + dy) of the second."""
    whole, end = noise(height=RESOLUTION + 2 * MAX_SHIFT), MAX_SHIFT + RESOLUTION
    pre = whole[:, :, MAX_SHIFT:end, MAX_SHIFT:end]
    return pre, whole[:, :, MAX_SHIFT - dy : end - dy, MAX_SHIFT - dx : end - dx]


@pytest.mark.parametrize("name", ALIGNMENTS)
@pytest.mark.parametrize("buildings", [0, 1, 3])
def test_alignment_keeps_the_shape_and_reaches_its_parameters(name: str, buildings: int) -> None:
    alignment = build_alignment(name, 8, RESOLUTION)
    pre, post = noise(buildings), noise(buildings).flip(1).requires_grad_()
    found = alignment(pre, post)
    assert found.shape == (buildings, 8, RESOLUTION, RESOLUTION)
    (found * torch.arange(8)[:, None, None]).square().sum().backward()
    gradients = {key: parameter.grad for key, parameter in alignment.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert post.grad.any() == (buildings > 0)
    if buildings:
        last = [each for key, each in gradients.items() if not key.startswith(("offsets.0", "offsets.2"))]
        assert all(gradient.any() for gradient in last)


@pytest.mark.parametrize("name", ALIGNMENTS)
@pytest.mark.parametrize("resolution", [1, 2, RESOLUTION])
def test_registered_images_stay_as_they_are(name: str, resolution: int) -> None:
    post = noise(height=resolution)
    torch.testing.assert_close(build_alignment(name, 8, resolution)(post, post), post, atol=1e-3, rtol=0)
    black = torch.zeros_like(post).requires_grad_()
    found = build_alignment(name, 8, resolution)(black, black)
    found.sum().backward()
    assert not found.any()
    assert black.grad.isfinite().all()


def test_deformable_reads_where_torchvision_does() -> None:
    alignment = build_alignment("deformable", 8, RESOLUTION)
    pre, post = noise(), noise().flip(1)
    torch.testing.assert_close(alignment(pre, post), post)  # it starts as the identity
    torch.nn.init.normal_(alignment.offsets[-1].weight, std=0.02)
    offsets = MAX_SHIFT * alignment.offsets(torch.cat([pre, post], dim=1)).tanh()
    assert offsets.std() > 0.1
    one_bin = torch.eye(8)[:, :, None, None]
    wanted = deform_conv2d(post, offsets.flip(1), one_bin)  # torchvision's offsets are (dy, dx)
    torch.testing.assert_close(alignment(pre, post)[:, :, INSIDE, INSIDE], wanted[:, :, INSIDE, INSIDE])


def test_deformable_reads_no_farther_than_its_reach_and_repeats_the_edge() -> None:
    alignment = build_alignment("deformable", 1, RESOLUTION)
    torch.nn.init.constant_(alignment.offsets[-1].bias, 50.0)
    bins = torch.arange(RESOLUTION)
    post = (10.0 * bins[:, None] + bins + 1)[None, None]
    reached = (bins + MAX_SHIFT).clamp(max=RESOLUTION - 1)
    torch.testing.assert_close(alignment(post, post), post[:, :, reached][..., reached])


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (2, -2), (-1, 2)])
def test_correlation_undoes_a_shift_untrained(dx: int, dy: int) -> None:
    pre, post = shifted(dx, dy)
    alignment = build_alignment("correlation", 8, RESOLUTION)
    found, wanted, before = (each[:, :, INSIDE, INSIDE] for each in (alignment(pre, post), pre, post))
    assert (found - wanted).abs().mean() < 0.01 * (before - wanted).abs().mean()
    weights, side = alignment.shift_weights(pre, post), 2 * MAX_SHIFT + 1
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert weights.argmax(dim=1).tolist() == [(MAX_SHIFT + dy) * side + MAX_SHIFT + dx] * 3
    torch.testing.assert_close(alignment.shift_weights(pre, 5 * post), weights)


def test_correlation_repeats_the_edge_where_post_has_moved_out() -> None:
    pre, post = shifted(2, 0)
    found = build_alignment("correlation", 8, RESOLUTION)(pre, post)
    torch.testing.assert_close(found[..., -1], post[..., -1], atol=0.02, rtol=0)


def test_correlation_stays_where_nothing_can_be_known() -> None:
    flat = torch.ones(1, 8, RESOLUTION, RESOLUTION)
    weights = build_alignment("correlation", 8, RESOLUTION).shift_weights(flat, flat)
    assert weights.argmax().item() == (2 * MAX_SHIFT + 1) ** 2 // 2


@pytest.mark.parametrize(("moved", "sign"), [(True, -1), (False, 1)])
def test_correlation_can_be_trained_to_move_or_to_stay(moved: bool, sign: int) -> None:
    alignment = build_alignment("correlation", 8, RESOLUTION)
    torch.nn.init.constant_(alignment.log_scale, 1.0)
    pre, post = shifted(1, 0)
    (alignment(pre, post) - (pre if moved else post)).square().sum().backward()
    assert alignment.stay.grad.sign() == -alignment.log_scale.grad.sign() == -sign


def test_unknown_alignment_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"ALIGNMENT: expected one of .*correlation.*found 'flow'"):
        build_alignment("flow", 8, RESOLUTION)


def moved(features: Tensor, dx: int, dy: int) -> Tensor:
    """What was at (x, y) at (x + dx, y + dy); what comes in is noise of its own."""
    height, width = features.shape[-2:]
    post = noise(len(features), height, width, seed=9)
    rows, columns = (slice(max(step, 0), size + min(step, 0)) for step, size in ((dy, height), (dx, width)))
    post[:, :, rows, columns] = torch.roll(features, (dy, dx), dims=(2, 3))[:, :, rows, columns]
    return post


@pytest.mark.parametrize("size", [(48, 40), (33, 27)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_each_tile_of_a_batch_has_its_own_whole_shift(size: tuple[int, int], dtype: torch.dtype) -> None:
    farthest = MAX_TILE_SHIFT
    shifts = [(0, 0), (1, 0), (0, -1), (3, -2), (-4, 1), (farthest, -farthest), (-farthest, farthest)]
    pre = noise(len(shifts), *size)
    post = torch.cat([moved(pre[n : n + 1], *shift) for n, shift in enumerate(shifts)])
    found = tile_shift(pre.to(dtype), 30 * post.to(dtype))  # brightness moves nothing
    torch.testing.assert_close(found, torch.tensor(shifts, dtype=torch.float32), atol=0.1, rtol=0)


@pytest.mark.parametrize("shift", [(0.5, 0.0), (-1.5, 2.0), (2.5, -0.5)])
def test_shifts_of_half_a_cell_are_found(shift: tuple[float, float]) -> None:
    smooth = torch.nn.functional.avg_pool2d(noise(1, 120), 7, stride=1, padding=3)
    dx, dy = (int(2 * step) for step in shift)
    pre, post = smooth[:, :, ::2, ::2], torch.roll(smooth, (dy, dx), dims=(2, 3))[:, :, ::2, ::2]
    torch.testing.assert_close(tile_shift(pre, post), torch.tensor([shift]), atol=0.2, rtol=0)


@pytest.mark.parametrize("value", [0.0, 1.0, -3.5])
def test_flat_tile_and_tile_that_is_black_in_post_are_not_moved(value: float) -> None:
    flat = torch.full((2, 8, 24, 20), value)
    assert not tile_shift(flat, flat).any()
    assert not tile_shift(noise(), torch.zeros_like(noise())).any()


@pytest.mark.parametrize(("count", "size"), [(1, (1, 1)), (1, (3, 2)), (0, (48, 40))])
def test_small_map_stays_within_the_reach_and_no_tiles_give_no_shifts(
    count: int, size: tuple[int, int]
) -> None:
    found = tile_shift(noise(count, *size), noise(count, *size, seed=1))
    assert found.shape == (count, 2)
    assert found.isfinite().all()
    assert (found.abs() <= MAX_TILE_SHIFT).all()
