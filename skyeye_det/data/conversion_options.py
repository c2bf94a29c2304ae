"""What the conversion command can be asked for, and which options fit each other."""

from dataclasses import dataclass
from pathlib import Path

from skyeye_det.data.splits import SPLIT_BY
from skyeye_det.errors import InputError


@dataclass(frozen=True)
class ConversionOptions:
    """What is to be converted; ``None`` stands for an option that was not given.

    Attributes:
        folders: of the root, such as ``("train", "tier3")``.
        output: folder of the COCO files; ``<root>/annotations`` by default.
        strict: a fault in the data is an error.
        workers: reading processes.
        name: of a new split; by default ``"random"``, ``"events"`` or ``"location"``, and ``"event"`` for one
            event a part.
        split_by: of ``splits.SPLIT_BY``.
        fractions: such as ``"train=.8,val=.1,test=.1"``.
        seed: of the new split; 0 by default.
        distance: m, of ``split_by="location"``.
        split_file: a split that was made before.
        leave_one_event_out: one part an event, and a fold for each.
    """

    folders: tuple[str, ...] = ()
    output: Path | None = None
    strict: bool = False
    workers: int | None = None
    name: str | None = None
    split_by: str | None = None
    fractions: str | None = None
    seed: int | None = None
    distance: float | None = None
    split_file: Path | None = None
    leave_one_event_out: bool = False


def check_options(options: ConversionOptions) -> None:
    """Refuses combinations that make no sense.

    Raises:
        InputError: at the first.
    """
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
