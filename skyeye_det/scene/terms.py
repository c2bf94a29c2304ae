"""What a building's record calls its grade, here and in the schemes that responders join on.

The equivalences are ours. Copernicus EMS: ``damage_gra``; UNOSAT: ``Main_Damage_Site_Class``.
"""

from typing import Any

from skyeye_det.damage import DAMAGE_BY_SUBTYPE, IGNORE_DAMAGE, DamageClass
from skyeye_det.decision.buildings import NOT_ASSESSED

GRADES = ("no_damage", "minor", "major", "destroyed")
"""Of ``DamageClass``, in the names of columns."""

COPERNICUS = {
    DamageClass.NO_DAMAGE: "No visible damage",
    DamageClass.MINOR_DAMAGE: "Possibly damaged",
    DamageClass.MAJOR_DAMAGE: "Damaged",
    DamageClass.DESTROYED: "Destroyed",
}
COPERNICUS_NOT_ASSESSED = "Not Analysed"

UNOSAT: dict[int, int] = {DamageClass.MINOR_DAMAGE: 3, DamageClass.MAJOR_DAMAGE: 2, DamageClass.DESTROYED: 1}
"""Others have none."""

COLORS = {
    DamageClass.NO_DAMAGE: "#2c7bb6",
    DamageClass.MINOR_DAMAGE: "#ffffbf",
    DamageClass.MAJOR_DAMAGE: "#fdae61",
    DamageClass.DESTROYED: "#d7191c",
}
"""ColorBrewer's RdYlBu, which colour-blind people can tell apart (Brewer 2003)."""

COLOR_NOT_ASSESSED = "#8c8c8c"


def _plain(word: str) -> str:
    return " ".join(word.lower().replace("_", " ").replace("-", " ").split())


_GRADE_BY_WORD: dict[str, int] = (
    {_plain(word): damage for word, damage in DAMAGE_BY_SUBTYPE.items()}
    | {_plain(word): grade for grade, word in enumerate(GRADES)}
    | {_plain(word): int(grade) for grade, word in COPERNICUS.items()}
    | {_plain(word): IGNORE_DAMAGE for word in (COPERNICUS_NOT_ASSESSED, NOT_ASSESSED, "")}
)


def grade_of(value: Any) -> int | None:
    """``damage`` -1..3 of a survey's entry; None where it is none.

    Args:
        value: 0..3 as a number or text, a name of xBD, of Copernicus EMS or of our columns, whatever the case
            and the signs between words; None, NaN or an empty text of a building without grade.
    """
    if isinstance(value, str) and _plain(value) in _GRADE_BY_WORD:
        return _GRADE_BY_WORD[_plain(value)]
    if value is None or (isinstance(value, float) and value != value):
        return IGNORE_DAMAGE
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        number = float(value)  # a table that was saved as text may have 1.0
    except ValueError:
        return None
    return int(number) if number in tuple(DamageClass) else None
