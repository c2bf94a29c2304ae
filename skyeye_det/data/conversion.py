"""The conversion command: whole folders of an xBD root, or new parts of them, to COCO files."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from skyeye_det.damage import SUBTYPE_BY_DAMAGE
from skyeye_det.data.coco import ConversionSummary, convert_scenes, convert_split, summary_table
from skyeye_det.data.ground import NEIGHBOURS, tile_key
from skyeye_det.data.scene_files import SceneFiles, find_scenes
from skyeye_det.data.split_file import (
    Split,
    check_name,
    check_tiles,
    read_split,
    split_file_path,
    write_fold_commands,
    write_split,
)
from skyeye_det.data.splits import (
    SPLIT_BY,
    count_parts,
    leave_one_event_out,
    make_split,
    parse_fractions,
    read_tiles,
    shares_table,
    split_remarks,
)
from skyeye_det.data.validation import Fault, count_faults
from skyeye_det.errors import InputError
from skyeye_det.files import write_json

_USUAL_NAMES = {"random": "random", "event": "events", "location": "location", None: "event"}


@dataclass(frozen=True)
class ConversionOptions:
    """What is to be converted; ``None`` stands for an option that was not given."""

    folders: tuple[str, ...] = ()  # of the root, such as ("train", "tier3")
    output: Path | None = None  # folder of the COCO files; <root>/annotations by default
    strict: bool = False  # a fault in the data is an error
    workers: int | None = None  # reading processes
    name: str | None = None  # of a new split; by default of _USUAL_NAMES
    split_by: str | None = None  # of splits.SPLIT_BY
    fractions: str | None = None  # such as "train=.8,val=.1,test=.1"
    seed: int | None = None  # of the new split; 0 by default
    distance: float | None = None  # m, of split_by="location"
    split_file: Path | None = None  # a split that was made before
    leave_one_event_out: bool = False  # one part an event, and a fold for each


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion wrote."""

    summaries: tuple[ConversionSummary, ...]  # one for each COCO file
    split: Split | None = None  # the new one; None where whole folders were converted
    split_file: Path | None = None
    fold_commands: Path | None = None  # shell file that trains each fold
    remarks: tuple[str, ...] = ()  # sentences on the split

    def __str__(self) -> str:
        lines = [summary_table(list(self.summaries))]
        if self.split:
            lines += ["", "shares of the split, by the labels:", shares_table(self.split), *self.remarks]
            lines.append(f"split file: {self.split_file}")
        if self.fold_commands:
            lines.append(f"commands that train and test each fold: {self.fold_commands}")
        return "\n".join(lines)

    def as_json(self) -> dict[str, Any]:
        """Counts, faults by kind, files written, and the split without its lists of tiles."""
        content: dict[str, Any] = {"splits": [_summary_json(summary) for summary in self.summaries]}
        if self.split:
            content["split"] = {
                "file": str(self.split_file),
                "name": self.split.name,
                "made": dict(self.split.made),
                "counts": self.split.counts,
                "folds": self.split.folds,
                "fold_commands": str(self.fold_commands) if self.fold_commands else None,
                "remarks": self.remarks,
            }
        return content


def convert_xbd(
    root: str | os.PathLike[str], options: ConversionOptions, report_file: Path | None = None
) -> ConversionReport:
    """Converts whole folders, or new parts of them; see datasets/README.md.

    The split file is written first, then the COCO files, each whole: a run that was broken off can be started
    again by the same command.

    Args:
        root: xBD root.
        options: what to do.
        report_file: where to write the report as JSON.

    Raises:
        InputError: options that do not fit each other or the data, a fault under ``strict``, or files
            that cannot be written or would take the place of others.
    """
    _check_options(options)
    root = Path(root)
    output = options.output or root / "annotations"
    if options.split_by or options.split_file or options.leave_one_event_out:
        report = _convert_parts(root, output, options)
    else:
        _check_no_part(output, options.folders)
        summaries = (
            convert_split(root, folder, output, strict=options.strict, workers=options.workers)
            for folder in options.folders
        )
        report = ConversionReport(tuple(summaries))
    if report_file:
        write_json(report_file, report.as_json(), pretty=True)
    return report


def _check_options(options: ConversionOptions) -> None:
    """Refuses combinations that make no sense."""
    modes = {
        "--split-by": options.split_by,
        "--split-file": options.split_file,
        "--leave-one-event-out": options.leave_one_event_out or None,
    }
    chosen = [mode for mode, value in modes.items() if value is not None]
    if len(chosen) > 1:
        raise InputError(f"{' and '.join(chosen)}: expected one of them; leave out the others")
    mode = chosen[0] if chosen else ""
    # Option, its value, and the modes that it has a meaning for.
    for option, value, fitting in (
        ("--fractions", options.fractions, ("--split-by",)),
        ("--seed", options.seed, ("--split-by",)),
        ("--name", options.name, tuple(modes)),
        ("--distance", options.distance, ("--split-by location",)),
        ("--splits", options.folders or None, ("", "--split-by", "--leave-one-event-out")),
    ):
        fits = mode in fitting or f"{mode} {options.split_by}" in fitting
        if value is not None and not fits:
            known = " or ".join(filter(None, fitting))
            raise InputError(f"{option}: has a meaning with {known} only; leave it out or add that")
    if mode != "--split-file" and not options.folders:
        raise InputError("--splits: expected folders of the xBD root, such as train tier3, found none")
    if mode == "--split-by":
        if options.split_by not in SPLIT_BY:
            raise InputError(f"--split-by: expected {', '.join(SPLIT_BY)}, found {options.split_by!r}")
        if options.fractions is None:
            raise InputError("--split-by: expected --fractions, such as train=.8,val=.1,test=.1, found none")
    if options.distance is not None and not 0 <= options.distance <= 100_000:
        raise InputError(f"--distance: expected 0 to 100000 m, found {options.distance}")


def _convert_parts(root: Path, output: Path, options: ConversionOptions) -> ConversionReport:
    given = read_split(options.split_file) if options.split_file else None
    usual = given.name if given else _USUAL_NAMES[options.split_by]
    name = check_name(usual if options.name is None else options.name, "--name")
    fractions = parse_fractions(options.fractions) if options.fractions else {}
    folders = given.folders if given else options.folders
    found, missing = _find_tiles(root, folders)
    if given and options.split_file:
        check_tiles(options.split_file, given, found)
    tiles = read_tiles(list(found.values()), options.workers)
    if given:
        split = replace(given, name=name, counts=count_parts(given.parts, tiles))
    elif options.split_by:
        distance = NEIGHBOURS if options.distance is None else options.distance
        seed = options.seed or 0
        split = make_split(tiles, name, folders, options.split_by, fractions, seed, distance)
    else:
        split = leave_one_event_out(tiles, name, folders)
    _check_no_folder(root, split)
    path = split_file_path(output, name)
    write_split(path, split)
    summaries: list[ConversionSummary] = []
    for part, keys in split.parts.items():
        pairs, coco_name = [found[key] for key in keys], split.coco_name(part)
        summaries.append(
            convert_scenes(root, pairs, coco_name, output, options.strict, options.workers, missing)
        )
        missing = []  # these pairs are in no part; they are reported once, with the first
    fold_commands = write_fold_commands(root, output, split)
    return ConversionReport(tuple(summaries), split, path, fold_commands, split_remarks(split, tiles))


def _find_tiles(root: Path, folders: tuple[str, ...]) -> tuple[dict[str, SceneFiles], list[Fault]]:
    """Complete pairs of all folders by ``<folder>/<scene>``, and a fault for each incomplete one."""
    found: dict[str, SceneFiles] = {}
    faults: list[Fault] = []
    places: dict[str, str] = {}
    for folder in folders:
        pairs, missing = find_scenes(root, folder)
        faults += missing
        for pair in pairs:
            if (first := places.setdefault(pair.name, folder)) != folder or tile_key(pair) in found:
                raise InputError(
                    f"{root}: tile {pair.name}: expected once in the folders of a split, found in "
                    f"{first} and {folder}; leave one folder out, or remove one of the two"
                )
            found[tile_key(pair)] = pair
    return found, faults


def _check_no_folder(root: Path, split: Split) -> None:
    for part in split.parts:
        if (folder := root / split.coco_name(part)).exists():
            raise InputError(
                f"{folder}: is a folder that converts to the same file as part {part}; choose another --name"
            )


def _check_no_part(output: Path, folders: Sequence[str]) -> None:
    for path in sorted(output.glob("split_*.json")):
        if not any(folder.startswith(path.stem.removeprefix("split_") + "-") for folder in folders):
            continue
        split = read_split(path)
        for part in split.parts:
            if (name := split.coco_name(part)) in folders:
                raise InputError(
                    f"{output / f'xbd_{name}.json'}: holds part {part} of {path.name}, which converting "
                    f"folder {name} would overwrite; choose another --output"
                )


def _summary_json(summary: ConversionSummary) -> dict[str, Any]:
    buildings: Mapping[int, int] = Counter(summary.buildings)
    return {
        "name": summary.split,
        "file": str(summary.path),
        "faults_file": str(summary.faults_path),
        "pairs": summary.pairs,
        "empty_pairs": summary.empty_pairs,
        "buildings": {subtype: buildings[damage] for damage, subtype in SUBTYPE_BY_DAMAGE.items()},
        "faults": {kind.value: count for kind, count in count_faults(summary.faults).items()},
    }
