"""A folder of results: kept predictions decided by a rule, as competition PNGs and COCO results.

Beside the PNGs lie ``instances.json``, the buildings that are in them, and ``candidates.json``, what the rule
left out, with the reason; ``instances/`` and ``candidates/`` have a part for each scene, whose presence means
that the scene is done. ``inference.json`` holds the rule.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import numpy as np

from skyeye_det.damage import NUM_DAMAGE_CLASSES
from skyeye_det.data.footprint_file import FootprintFile
from skyeye_det.data.pairs import image_id
from skyeye_det.decision.buildings import Buildings
from skyeye_det.decision.decide import decide_footprints
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.decision.stitch import decide_windows
from skyeye_det.errors import InputError, shown
from skyeye_det.files import json_bytes, read_json, whole_file, write_json
from skyeye_det.prediction.footprints import shared_out
from skyeye_det.prediction.prediction import InstancePrediction
from skyeye_det.prediction.store import KeptImage, PredictionStore, file_part
from skyeye_det.prediction.visibility import core_visibility, seen_shares
from skyeye_det.xview2.submission import (
    NUMBERING_FILE,
    submission_names,
    write_numbering,
    write_submission_pngs,
)

SETTINGS_FILE = "inference.json"
PREDICTIONS_FOLDER = "predictions"
"""The prediction store in a folder of results."""

_LISTS = "instances", "candidates"
"""Of buildings, and of what the rule left out: a joined file and a folder of parts each."""


def decide_image(
    store: PredictionStore, image: KeptImage, rule: DecisionRule, footprints: FootprintFile | None = None
) -> Buildings:
    """The buildings of an image from what is kept of its windows.

    Args:
        store: all windows of the image are in it.
        image: of the store.
        rule: to decide by.
        footprints: what the store's predictions are of; None: of what models found.

    Raises:
        InputError: a window is missing, cannot be read, or is of other footprints.
    """
    windows, shape = store.windows(image), (image.height, image.width)
    if footprints is None:
        return decide_windows(((each, store.load(image, each)) for each in windows), shape, rule)
    uids, outlines = footprints.outlines(image.scene, shape)
    probs = footprint_probs(store, image, shared_out(outlines, windows), len(outlines))
    return replace(decide_footprints(outlines, probs, shape, rule), uids=uids)


def footprint_probs(
    store: PredictionStore, image: KeptImage, shared: Sequence[Sequence[int]], count: int
) -> np.ndarray:
    """What is kept of an image's footprints.

    Args:
        store: of their predictions.
        image: of the store.
        shared: for each window the numbers of its footprints.
        count: of all of them, N.

    Returns:
        (N, 4) float32 damage probabilities; the same for all grades where no window has the footprint.

    Raises:
        InputError: a window is missing, cannot be read, or is of other footprints.
    """
    probs = np.full((count, NUM_DAMAGE_CLASSES), 1 / NUM_DAMAGE_CLASSES, np.float32)
    for window, indices in zip(store.windows(image), shared, strict=True):
        kept = store.load(image, window)
        if not isinstance(kept, InstancePrediction) or len(kept.scores) != len(indices):
            raise InputError(
                f"{store.path(image, window)}: expected predictions of {len(indices)} footprints, found"
                " others; predict again"
            )
        probs[list(indices)] = kept.damage_probs
    return probs


def assess_image(
    store: PredictionStore, image: KeptImage, rule: DecisionRule, footprints: FootprintFile | None = None
) -> Buildings:
    """As ``decide_image``, without a grade where the images do not show the building."""
    found = decide_image(store, image, rule, footprints)
    return found.graded_where_seen(lambda masks: seen_shares(masks, core_visibility(store, image)))


def recorded_rule(folder: Path) -> DecisionRule:
    """The rule that a folder's results were decided by last.

    Raises:
        InputError: none is recorded, or it is no rule.
    """
    path = folder / SETTINGS_FILE
    record = read_json(path)
    try:
        values = dict(record["rule"])
        return DecisionRule(**values | {"damage_weights": tuple(values["damage_weights"])})
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path}: expected the rule of its results, found none; give --decisions") from error


class ResultWriter:
    """Writes the results of images, those that an earlier run by the same rule has left out.

    Args:
        folder: of the results.
        rule: they are decided by.
        names: scene -> name in the PNGs, where they are numbered.
    """

    def __init__(self, folder: Path, rule: DecisionRule, names: Mapping[str, str] | None = None):
        self.folder, self.rule, self._names = folder, rule, names or {}

    def _begin(self, store: PredictionStore) -> None:
        """Notes what is to be written; results of anything else are removed, those of this are done."""
        records = {image.scene: self._record(store, image) for image in store.images}
        known = self._known_records()
        for scene in known | records:
            if known.get(scene) != records.get(scene):
                names = {self._name(scene), known.get(scene, ("",))[0]} - {""}
                pngs = {self.folder / png for name in names for png in submission_names(name)}
                for stale in (*self._parts(scene), *pngs):
                    stale.unlink(missing_ok=True)
        settings = {
            "rule": asdict(self.rule) | {"damage_weights": list(self.rule.damage_weights)},
            "damage": "argmax(damage_probs * damage_weights); likeliest_damage is argmax(damage_probs)",
            "scenes": records,
        }
        write_json(self.folder / SETTINGS_FILE, settings, pretty=True)
        if self._names:
            write_numbering(self.folder, {scene: name for scene, (name, _) in records.items()})
        else:
            (self.folder / NUMBERING_FILE).unlink(missing_ok=True)

    def _record(self, store: PredictionStore, image: KeptImage) -> tuple[str, str]:
        """Name in the PNGs, and a digest of all that the results of an image follow from."""
        rule = asdict(self.rule)
        made_of = json_bytes([store.digest, image.sha256, image.file_name, rule])
        return self._name(image.scene), hashlib.sha256(made_of).hexdigest()

    def _known_records(self) -> dict[str, tuple[str, str]]:
        """What an earlier run has noted; InputError where that is no record of this form."""
        path = self.folder / SETTINGS_FILE
        if not path.is_file():
            return {}
        found = read_json(path)
        try:
            records = msgspec.convert(found["scenes"], dict[str, tuple[str, str]])
            return {file_part(scene): (file_part(name), digest) for scene, (name, digest) in records.items()}
        except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
            raise InputError(
                f"{path}: expected what this version notes of its results, found something else; choose"
                " another --output"
            ) from error

    def is_done(self, image: KeptImage) -> bool:
        """Whether all files of an image are there."""
        paths = *self._parts(image.scene), *self._pngs(image.scene)
        return all(path.is_file() and path.stat().st_size for path in paths)

    def write(self, image: KeptImage, buildings: Buildings) -> None:
        """Writes the PNGs and parts of an image; InputError where they cannot be written."""
        write_submission_pngs(self.folder, self._name(image.scene), *buildings.rasterize())
        lists = buildings, buildings.candidates
        for path, found in zip(reversed(self._parts(image.scene)), reversed(lists), strict=True):
            results = (
                found.to_coco(image.scene, image_id(image.scene), image.file_name)
                if found is not None
                else []
            )
            write_json(path, results)

    def write_all(self, store: PredictionStore, footprints: FootprintFile | None = None) -> None:
        """Decides and writes what is not done yet, and joins all; arguments as of ``decide_image``.

        Raises:
            InputError: as of ``decide_image``, or the folder cannot be written.
        """
        self._begin(store)
        for image in store.images:
            if not self.is_done(image):
                self.write(image, assess_image(store, image, self.rule, footprints))
        self.join(store.images)

    def join(self, images: Sequence[KeptImage]) -> None:
        """Writes ``instances.json`` and ``candidates.json`` of all images, a scene at a time.

        Raises:
            InputError: a part holds something else.
        """
        for number, name in enumerate(_LISTS):
            _join(self.folder / f"{name}.json", [self._parts(image.scene)[number] for image in images])

    def _name(self, scene: str) -> str:
        return self._names.get(scene, scene)

    def _pngs(self, scene: str) -> tuple[Path, Path]:
        localization, damage = submission_names(self._name(scene))
        return self.folder / localization, self.folder / damage

    def _parts(self, scene: str) -> tuple[Path, Path]:
        first, second = (self.folder / name / f"{scene}.json" for name in _LISTS)
        return first, second


def _join(joined_file: Path, parts: Sequence[Path]) -> None:
    with whole_file(joined_file) as partial, partial.open("w", encoding="utf-8") as joined:
        joined.write("[")
        separator = "\n"
        for part in parts:
            results = read_json(part)
            if not isinstance(results, list):
                raise InputError(
                    f"{part}: expected the results of a scene, found {shown(results)}; delete it and run"
                    " again"
                )
            for result in results:
                joined.write(separator + json.dumps(result))
                separator = ",\n"
        joined.write("\n]\n")
