"""What people say of one building, in the four columns that QGIS shows and edits too.

What the columns say is a *review*; it may have a *verdict*, and with one the building is *reviewed*.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from skyeye_det.damage import DamageClass
from skyeye_det.errors import InputError
from skyeye_det.evaluation.check_estimate import NOT_A_BUILDING

COLUMNS = ("reviewed", "review_damage", "review_by", "review_note")
DRAWN = "drawn by a reviewer"
"""``status`` of a building that the model has not found."""

CANNOT_TELL = "a reviewer cannot tell"
"""``status`` under which a building with the verdict ``UNSURE`` counts."""

GRADE, FALSE_BUILDING, UNSURE, NO_VERDICT = VERDICTS = ("grade", "not_a_building", "cannot_tell", "none")

HAS_REVIEW = "reviewed = 1 OR review_damage IS NOT NULL OR review_by <> '' OR review_note <> ''"
"""SQL: rows that people have written to, if it be a note without a verdict."""


@dataclass(frozen=True)
class Review:
    """What people say of a building.

    Attributes:
        reviewed: whether somebody has given a verdict on it.
        damage: 0..3 a grade, -1 of what is no building, None; of a file that others edit it can be anything.
        by: who.
        note: free text.
    """

    reviewed: bool = False
    damage: Any = None
    by: str = ""
    note: str = ""

    @classmethod
    def of(cls, verdict: str, damage: int | None, by: str, note: str) -> "Review":
        """The review that says a verdict.

        Args:
            verdict: of ``VERDICTS``; with ``NO_VERDICT`` nothing is left of a review.
            damage: 0..3, with ``GRADE`` alone.
            by: who.
            note: free text.

        Raises:
            InputError: they do not fit each other.
        """
        if verdict not in VERDICTS:
            raise InputError(f"verdict: expected one of {', '.join(VERDICTS)}, found {verdict!r}")
        if (damage is not None) != (verdict == GRADE):
            raise InputError(
                f"damage: expected 0 to 3 with the verdict {GRADE} alone, found {damage} with {verdict}"
            )
        if damage is not None and damage not in tuple(DamageClass):
            raise InputError(f"damage: expected 0 to 3, found {damage}")
        if verdict == NO_VERDICT:
            return cls()
        return cls(True, NOT_A_BUILDING if verdict == FALSE_BUILDING else damage, by, note)

    @classmethod
    def of_row(cls, values: Sequence[Any]) -> "Review":
        """Of the values of ``COLUMNS``."""
        reviewed, damage, by, note = values
        return cls(bool(reviewed), damage, str(by or ""), str(note or ""))

    @property
    def row(self) -> tuple[int, Any, str | None, str | None]:
        """Values of ``COLUMNS``; empty texts are null."""
        return int(self.reviewed), self.damage, self.by or None, self.note or None

    @property
    def verdict(self) -> str:
        """Of ``VERDICTS``; a grade that somebody typed without more is one, a number beyond is none."""
        if self.damage is None:
            return UNSURE if self.reviewed else NO_VERDICT
        if self.damage == NOT_A_BUILDING:
            return FALSE_BUILDING
        return GRADE if self.damage in tuple(DamageClass) else NO_VERDICT

    @property
    def lock(self) -> str:
        """Short hash; two states that differ have different ones."""
        told = repr((self.reviewed, self.damage, self.by, self.note))
        return hashlib.blake2b(told.encode(errors="backslashreplace"), digest_size=8).hexdigest()
