"""The ordinal damage scale of xBD, in the one place that knows its names, values and colours.

Two numberings exist: training and prediction use ``DamageClass`` 0..3 with ``IGNORE_DAMAGE`` (-1) for
un-classified buildings; xView2 damage images use pixel values 0..4, always damage + 1: a building of that
grade, and 0, background, for an un-classified one.
"""

from enum import IntEnum

IGNORE_DAMAGE = -1
"""``damage`` of an un-classified building: it has a mask, and no grade to learn from or be judged by."""

UNCLASSIFIED_SUBTYPE = "un-classified"


class DamageClass(IntEnum):
    """Joint Damage Scale of xBD (Gupta et al. 2019), in order of severity."""

    NO_DAMAGE = 0
    MINOR_DAMAGE = 1
    MAJOR_DAMAGE = 2
    DESTROYED = 3

    @property
    def subtype(self) -> str:
        """Name of the grade in xBD labels, such as ``"no-damage"``."""
        return _SUBTYPES[self]

    @property
    def pixel_value(self) -> int:
        """Value 1..4 of the grade in an xView2 damage image."""
        return int(self) + 1


_SUBTYPES = {
    DamageClass.NO_DAMAGE: "no-damage",
    DamageClass.MINOR_DAMAGE: "minor-damage",
    DamageClass.MAJOR_DAMAGE: "major-damage",
    DamageClass.DESTROYED: "destroyed",
}

NUM_DAMAGE_CLASSES = len(DamageClass)

DAMAGE_BY_SUBTYPE: dict[str, int] = {grade.subtype: int(grade) for grade in DamageClass} | {
    UNCLASSIFIED_SUBTYPE: IGNORE_DAMAGE
}
"""xBD ``subtype`` -> ``damage`` -1..3."""

SUBTYPE_BY_DAMAGE: dict[int, str] = {damage: subtype for subtype, damage in DAMAGE_BY_SUBTYPE.items()}
"""``damage`` -1..3 -> xBD ``subtype``."""

DAMAGE_COLORS: dict[int, tuple[int, int, int]] = {
    DamageClass.NO_DAMAGE: (64, 200, 90),
    DamageClass.MINOR_DAMAGE: (255, 221, 51),
    DamageClass.MAJOR_DAMAGE: (255, 133, 27),
    DamageClass.DESTROYED: (235, 45, 58),
    IGNORE_DAMAGE: (170, 170, 170),
}
"""``damage`` -1..3 -> RGB 0..255."""
