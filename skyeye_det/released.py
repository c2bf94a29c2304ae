"""Released models: weights, config, rules and card in a folder, found by name.

``skyeye_det/models/NAME/`` holds ``card.json`` and the files that it names; ``tools/release_model.py`` writes
it. A released ensemble has no weights of its own: its card names other models of the same folder.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from skyeye_det.errors import InputError, shown
from skyeye_det.files import read_bytes, read_json

MODELS = Path(__file__).parent / "models"
DEFAULT, QUALITY = "hybrid", "ensemble"
"""Names of the model of the best score for its seconds, and of the best score."""

CARD, WEIGHTS, CONFIG = "card.json", "model.safetensors", "config.yaml"
PURPOSES = ("score", "assessment")
"""What a rule is tuned for; a released model has ``PURPOSE.yaml`` of each."""


class Card(msgspec.Struct, kw_only=True):
    """What ``card.json`` says; see ``tools/release_model.py`` for what it is made from.

    Attributes:
        summary: one sentence.
        sha256: file name -> hash, of every other file of the folder.
        members: names of the models that an ensemble consists of; none of a single model.
        views: test-time augmentation of each member, or of the model itself.
        scenes: pairs that it has learnt from: on these its score means nothing.
        figures: what was measured, by whom, on what.
        facts: data, training, licence, limits.
    """

    summary: str
    sha256: dict[str, str]
    members: list[str]
    views: list[str]
    scenes: list[str]
    figures: dict[str, Any]
    facts: dict[str, Any]


@dataclass(frozen=True)
class ReleasedModel:
    """A released model whose files are what its card says.

    Attributes:
        name: of its folder.
        folder: with its files.
        card: what it says of itself.
    """

    name: str
    folder: Path
    card: Card

    @property
    def config_files(self) -> list[str]:
        """YAML of each network."""
        return [str(folder / CONFIG) for folder in self._networks]

    @property
    def weights(self) -> list[str]:
        """Weights of each network."""
        return [str(folder / WEIGHTS) for folder in self._networks]

    def rule(self, purpose: str) -> Path:
        """The decision rule for one of ``PURPOSES``."""
        return self.folder / f"{purpose}.yaml"

    @property
    def _networks(self) -> list[Path]:
        return [self.folder.parent / name for name in self.card.members] or [self.folder]


def released_names(models: Path = MODELS) -> list[str]:
    """Names of the models that come with the package."""
    return sorted(path.parent.name for path in models.glob(f"*/{CARD}"))


def require_released(name: str, models: Path = MODELS) -> list[str]:
    """Names of all released models; InputError where there is none of that name."""
    names = released_names(models)
    if name not in names:
        raise InputError(
            f"model {shown(name)}: expected one of {', '.join(names) or 'the released (none yet)'}, found no"
            " such model; `skyeye models` lists them, --config-file with --weights takes one of your own"
        )
    return names


def released_model(name: str, models: Path = MODELS) -> ReleasedModel:
    """Finds a released model and checks its files.

    Args:
        name: of ``released_names``.
        models: folder of all of them.

    Raises:
        InputError: there is none of that name, or a file is missing or has changed since the release.
    """
    names = require_released(name, models)
    card = read_card(models / name / CARD)
    found = ReleasedModel(name, models / name, card)
    needed = {*(f"{purpose}.yaml" for purpose in PURPOSES), *(() if card.members else (CONFIG, WEIGHTS))}
    if lacking := needed - card.sha256.keys():
        raise InputError(
            f"{models / name / CARD}: sha256: expected the hash of {min(lacking)}, found none; install"
            " skyeye_det again"
        )
    for file_name, expected in card.sha256.items():
        path = found.folder / Path(file_name).name
        if hashlib.sha256(read_bytes(path)).hexdigest() != expected:
            raise InputError(
                f"{path}: expected the file of the release (sha256 {expected[:12]}...), found other bytes;"
                " install skyeye_det again"
            )
    for member in card.members:
        if member not in names or member == name or read_card(models / member / CARD).members:
            raise InputError(
                f"{models / name / CARD}: members: expected single models, found {shown(member)}"
            )
        released_model(member, models)
    return found


def read_card(path: Path) -> Card:
    """Reads a card; InputError where the file holds something else."""
    try:
        return msgspec.convert(read_json(path), Card)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: expected the card of a released model, found other ({error})") from error
