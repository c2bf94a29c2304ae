"""What a building's record calls its grade, here and in the schemes that responders join on.

The equivalences are ours. Copernicus EMS: ``damage_gra``; UNOSAT: ``Main_Damage_Site_Class``.
"""

from skyeye_det.damage import DamageClass

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
