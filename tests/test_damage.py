"""The damage scale: names, values and colours agree with xBD and with each other."""

import pytest

from skyeye_det.damage import (
    DAMAGE_BY_SUBTYPE,
    DAMAGE_COLORS,
    IGNORE_DAMAGE,
    NUM_DAMAGE_CLASSES,
    SUBTYPE_BY_DAMAGE,
    UNCLASSIFIED_SUBTYPE,
    DamageClass,
)


def test_subtypes_are_those_of_xbd_labels_in_order_of_severity():
    assert [grade.subtype for grade in DamageClass] == [
        "no-damage",
        "minor-damage",
        "major-damage",
        "destroyed",
    ]
    assert [int(grade) for grade in sorted(DamageClass)] == [0, 1, 2, 3]
    assert NUM_DAMAGE_CLASSES == 4


def test_pixel_values_are_one_to_four_and_background_stays_free():
    assert [grade.pixel_value for grade in DamageClass] == [1, 2, 3, 4]


def test_every_subtype_goes_there_and_back():
    assert DAMAGE_BY_SUBTYPE == {
        "no-damage": 0,
        "minor-damage": 1,
        "major-damage": 2,
        "destroyed": 3,
        "un-classified": -1,
    }
    assert {SUBTYPE_BY_DAMAGE[damage]: damage for damage in SUBTYPE_BY_DAMAGE} == DAMAGE_BY_SUBTYPE
    assert all(type(damage) is int for damage in DAMAGE_BY_SUBTYPE.values())  # JSON writes plain numbers


def test_unclassified_is_no_grade():
    assert DAMAGE_BY_SUBTYPE[UNCLASSIFIED_SUBTYPE] == IGNORE_DAMAGE == -1
    with pytest.raises(ValueError, match="-1"):
        DamageClass(IGNORE_DAMAGE)


def test_every_damage_has_a_colour_of_its_own_that_can_be_looked_up_by_number():
    assert set(DAMAGE_COLORS) == {-1, 0, 1, 2, 3}
    assert len(set(DAMAGE_COLORS.values())) == 5
    assert all(
        len(color) == 3 and all(0 <= part <= 255 for part in color) for color in DAMAGE_COLORS.values()
    )


def test_colours_are_rgb_from_green_to_red():
    red, green, blue = DAMAGE_COLORS[DamageClass.DESTROYED]
    assert red > 2 * max(green, blue)
    red, green, blue = DAMAGE_COLORS[DamageClass.NO_DAMAGE]
    assert green > 2 * max(red, blue)
