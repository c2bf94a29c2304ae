"""What a run of the benchmark measures on."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from skyeye_det.benchmark.material import SourcePair, label_pairs, root_pairs, sample_pairs

from skyeye_det.errors import InputError

_MOST_SAMPLES = 24
"""Made-up scenes that are drawn at most; they are repeated under new names where more are asked for."""


@dataclass(frozen=True)
class Settings:
    """Sources and sizes of a run.

    Attributes:
        output: folder for the files that are made.
        labels: folder of xBD label pairs to take geometry from.
        xbd_root: xBD root to take images from, and geometry where ``labels`` is not given.
        pairs: label pairs that are converted.
        tiles: tiles that are scored, painted as targets and loaded.
        workers: processes, threads or cores that a row may use.
        repeats: runs of ours and of the floor, the best counts.
        instances: instances that are rasterised.
        crop: side of a training crop, px.
        sample_size: side of made-up scenes, px.
    """

    output: Path
    labels: Path | None = None
    xbd_root: Path | None = None
    pairs: int = 11034
    tiles: int = 400
    workers: int = 2
    repeats: int = 3
    instances: int = 1000
    crop: int = 512
    sample_size: int = 1024

    def __post_init__(self) -> None:
        for name in ("pairs", "tiles", "workers", "repeats"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name}: expected 1 or more, found {getattr(self, name)}")

    @cached_property
    def geometry(self) -> Sequence[SourcePair]:
        """Pairs whose labels are read: of ``labels``, else those of ``images``."""
        return self.images if self.labels is None else label_pairs(self.labels)

    @cached_property
    def images(self) -> Sequence[SourcePair]:
        """Pairs with images: of ``xbd_root``, else made up."""
        if self.xbd_root is not None:
            return root_pairs(self.xbd_root)
        count = min(max(self.pairs, self.tiles), _MOST_SAMPLES)
        return sample_pairs(self.output / "sample", count, self.sample_size, self.workers)

    @property
    def origin(self) -> str:
        """Where labels and images come from, in words."""
        made_up = "the sample generator"
        images = self.xbd_root or made_up
        return f"labels of {self.labels or images}, images of {images}"
