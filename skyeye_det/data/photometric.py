"""Random light and sensor of one image; drawn for pre and post apart."""

from statistics import NormalDist

import cv2
import numpy as np
from detectron2.data import transforms
from fvcore.transforms.transform import Transform

_TONE = 0.7  # gamma, contrast and brightness are drawn from exp(-0.7)..exp(0.7) at strength 1
_CAST = 0.3  # so is the gain of each channel, from exp(-0.3)..exp(0.3)
_MAX_BLUR_SIGMA = 2.0  # px at strength 1
_MAX_NOISE_SIGMA = 40.0  # grey levels at strength 1

_NORMAL_LEVELS = np.array([NormalDist().inv_cdf((level + 0.5) / 256) for level in range(256)])


class PhotometricTransform(Transform):
    """Changes the values of an RGB image and nothing of its geometry; black no-data pixels stay black.

    Args:
        table: (256, 3) uint8, new value of each old value and channel.
        saturation: 0 grey, 1 as it is.
        blur_sigma: px; 0 leaves the image sharp.
        noise_sigma: grey levels; 0 adds none.
        noise_seed: of the noise, so that the transform gives the same image each time.
    """

    def __init__(
        self, table: np.ndarray, saturation: float, blur_sigma: float, noise_sigma: float, noise_seed: int
    ) -> None:
        super().__init__()
        self.table, self.saturation = table, saturation
        self.blur_sigma, self.noise_sigma, self.noise_seed = blur_sigma, noise_sigma, noise_seed

    def apply_image(self, img: np.ndarray) -> np.ndarray:
        """Changes (H, W, 3) uint8."""
        img = np.ascontiguousarray(img)
        no_data = cv2.inRange(img, (0, 0, 0), (0, 0, 0))
        changed = cv2.LUT(img, self.table[None])
        grey = cv2.cvtColor(cv2.cvtColor(changed, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        changed = cv2.addWeighted(changed, self.saturation, grey, 1 - self.saturation, 0)
        if self.blur_sigma:
            changed = cv2.GaussianBlur(changed, (0, 0), self.blur_sigma)
        if self.noise_sigma:
            changed = cv2.add(changed, self._noise(changed.shape), dtype=cv2.CV_8U)
        return changed if not cv2.hasNonZero(no_data) else cv2.copyTo(changed, cv2.bitwise_not(no_data))

    def _noise(self, shape: tuple[int, ...]) -> np.ndarray:
        """Normal noise, int16, of 256 levels: drawing real normal numbers takes eight times as long."""
        generator = np.random.Generator(np.random.SFC64(self.noise_seed))
        size = int(np.prod(shape))
        words = generator.integers(1 << 64, size=-(-size // 8), dtype=np.uint64)
        levels = np.rint(_NORMAL_LEVELS * self.noise_sigma).astype(np.int16)
        return cv2.LUT(words.view(np.uint8)[:size].reshape(shape), levels)

    def apply_coords(self, coords: np.ndarray) -> np.ndarray:
        """Leaves points where they are."""
        return coords


class RandomPhotometric(transforms.Augmentation):
    """Draws gamma, contrast, brightness, colour cast, saturation, blur and noise.

    Args:
        strength: 0 changes nothing; 1 is strong.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength

    def get_transform(self, image: np.ndarray) -> Transform:
        """Draws the change of an (H, W, 3) uint8 RGB image."""
        if not self.strength:
            return transforms.NoOpTransform()
        gamma, contrast, brightness = np.exp(_TONE * self._symmetric(3))
        gain = brightness * np.exp(_CAST * self._symmetric(3))
        mean = float(np.mean(cv2.mean(image)[:3])) / 255
        values = (np.arange(256) / 255) ** gamma
        values = (values - mean**gamma) * contrast + mean**gamma
        table = np.clip(np.rint(255 * values[:, None] * gain), 0, 255).astype(np.uint8)
        blur, noise = (self._rand_range(size=2) < self.strength) * self._rand_range(size=2) * self.strength
        return PhotometricTransform(
            table,
            saturation=1 + float(self._symmetric(1)[0]),
            blur_sigma=float(blur) * _MAX_BLUR_SIGMA,
            noise_sigma=float(noise) * _MAX_NOISE_SIGMA,
            noise_seed=int(self._rand_range(2**31)),
        )

    def _symmetric(self, count: int) -> np.ndarray:
        """``count`` numbers in -strength..strength."""
        return self._rand_range(-self.strength, self.strength, count)
