import pytest
import torch
from torch import Tensor

from skyeye_det.errors import InputError
from skyeye_det.modeling.alignment import ALIGNMENTS, MAX_SHIFT, build_alignment

RESOLUTION = 7
INSIDE = slice(MAX_SHIFT, RESOLUTION - MAX_SHIFT)


def noise(count: int = 3, side: int = RESOLUTION) -> Tensor:
    return torch.randn(count, 8, side, side, generator=torch.Generator().manual_seed(0))


def shifted(dx: int, dy: int) -> tuple[Tensor, Tensor]:
    """Two windows on one map: what lies at (x, y) of the first lies at (x + dx, y + dy) of the second."""
    whole, end = noise(side=RESOLUTION + 2 * MAX_SHIFT), MAX_SHIFT + RESOLUTION
    pre = whole[:, :, MAX_SHIFT:end, MAX_SHIFT:end]
    return pre, whole[:, :, MAX_SHIFT - dy : end - dy, MAX_SHIFT - dx : end - dx]


@pytest.mark.parametrize("name", ALIGNMENTS)
@pytest.mark.parametrize("buildings", [0, 1, 3])
def test_alignment_keeps_the_shape_and_reaches_its_parameters(name: str, buildings: int) -> None:
    alignment = build_alignment(name)
    pre, post = noise(buildings), noise(buildings).flip(1).requires_grad_()
    found = alignment(pre, post)
    assert found.shape == (buildings, 8, RESOLUTION, RESOLUTION)
    (found * torch.arange(8)[:, None, None]).square().sum().backward()
    gradients = {key: parameter.grad for key, parameter in alignment.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values())
    assert post.grad.any() == (buildings > 0)
    if buildings:
        assert all(gradient.any() for gradient in gradients.values())


@pytest.mark.parametrize("name", ALIGNMENTS)
@pytest.mark.parametrize("resolution", [1, 2, RESOLUTION])
def test_registered_images_stay_as_they_are(name: str, resolution: int) -> None:
    post = noise(side=resolution)
    torch.testing.assert_close(build_alignment(name)(post, post), post, atol=1e-3, rtol=0)
    black = torch.zeros_like(post).requires_grad_()
    found = build_alignment(name)(black, black)
    found.sum().backward()
    assert not found.any()
    assert black.grad.isfinite().all()


@pytest.mark.parametrize(("dx", "dy"), [(1, 0), (0, -1), (2, -2), (-1, 2)])
def test_correlation_undoes_a_shift_untrained(dx: int, dy: int) -> None:
    pre, post = shifted(dx, dy)
    alignment = build_alignment("correlation")
    found, wanted, before = (each[:, :, INSIDE, INSIDE] for each in (alignment(pre, post), pre, post))
    assert (found - wanted).abs().mean() < 0.01 * (before - wanted).abs().mean()
    weights, side = alignment.shift_weights(pre, post), 2 * MAX_SHIFT + 1
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    assert weights.argmax(dim=1).tolist() == [(MAX_SHIFT + dy) * side + MAX_SHIFT + dx] * 3
    torch.testing.assert_close(alignment.shift_weights(pre, 5 * post), weights)


def test_correlation_repeats_the_edge_where_post_has_moved_out() -> None:
    pre, post = shifted(2, 0)
    found = build_alignment("correlation")(pre, post)
    torch.testing.assert_close(found[..., -1], post[..., -1], atol=0.02, rtol=0)


def test_correlation_stays_where_nothing_can_be_known() -> None:
    flat = torch.ones(1, 8, RESOLUTION, RESOLUTION)
    weights = build_alignment("correlation").shift_weights(flat, flat)
    assert weights.argmax().item() == (2 * MAX_SHIFT + 1) ** 2 // 2


@pytest.mark.parametrize(("moved", "sign"), [(True, -1), (False, 1)])
def test_correlation_can_be_trained_to_move_or_to_stay(moved: bool, sign: int) -> None:
    alignment = build_alignment("correlation")
    torch.nn.init.constant_(alignment.log_scale, 1.0)
    pre, post = shifted(1, 0)
    (alignment(pre, post) - (pre if moved else post)).square().sum().backward()
    assert alignment.stay.grad.sign() == -alignment.log_scale.grad.sign() == -sign


def test_unknown_alignment_is_refused_with_those_that_exist() -> None:
    with pytest.raises(InputError, match=r"ALIGNMENT: expected one of .*correlation.*found 'flow'"):
        build_alignment("flow")
