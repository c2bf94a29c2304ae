"""Row: conversion of label pairs to COCO, against reading and parsing the same bytes."""

import hashlib
from pathlib import Path

from skyeye_det.benchmark.floors import parse_labels
from skyeye_det.benchmark.material import SPLIT, linked_root
from skyeye_det.benchmark.measure import interleaved, tree_memory
from skyeye_det.benchmark.rows import Row
from skyeye_det.benchmark.settings import Settings

from skyeye_det.data.coco import convert_split
from skyeye_det.workers import ordered_map

BAR = 5.0
MEMORY_BAR_MIB = 1536.0


def conversion_row(settings: Settings) -> Row:
    """Converts ``settings.pairs`` pairs with one worker, with all, and then against the floor."""
    root = settings.output / "conversion"
    pairs = linked_root(root, settings.geometry, settings.pairs)
    labels = [pair.labels for pair in pairs]

    def convert(workers: int = settings.workers) -> Path:
        return convert_split(root, SPLIT, root / f"by{workers}", workers=workers).path

    # These runs bring the files into the page cache, and are not timed.
    with tree_memory() as peak:
        alone = _digests(convert(1))
    with tree_memory() as peak_of_many:
        together = _digests(convert())
    ours, floor, (_, sizes) = interleaved(
        convert, lambda: sum(ordered_map(parse_labels, labels, settings.workers)), settings.repeats
    )
    return Row(
        name="conversion",
        what=f"{len(pairs)} label pairs, {len(settings.geometry)} different, {settings.workers} workers",
        floor_is="only reading and orjson-parsing the same bytes in as many processes",
        ours=ours,
        floor=floor,
        bar=BAR,
        repeats=settings.repeats,
        memory_mib=max(peak.mib, peak_of_many.mib),
        memory_bar_mib=MEMORY_BAR_MIB,
        memory_is="peak of all processes together (PSS), in runs of their own",
        checks={f"same output for 1 and {settings.workers} workers": alone == together},
        figures={"MB of labels": sizes / 1e6, "pairs a second": len(pairs) / ours.wall},
    )


def _digests(path: Path) -> dict[str, str]:
    """SHA-256 by name of the files that a conversion has written."""
    return {
        each.name: hashlib.sha256(each.read_bytes()).hexdigest()
        for each in sorted(path.parent.iterdir())
        if each.is_file()
    }
