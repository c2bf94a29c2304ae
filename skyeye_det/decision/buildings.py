"""The buildings of an image: what every output is made of."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any

import numpy as np

from skyeye_det.damage import DAMAGE_COLORS, IGNORE_DAMAGE, NUM_DAMAGE_CLASSES, DamageClass
from skyeye_det.data.targets import Parts, segmentation_from_parts
from skyeye_det.decision.fills import filled_outlines
from skyeye_det.decision.polygonize import outline_geometries, polygonize
from skyeye_det.decision.rule import DecisionRule
from skyeye_det.prediction.masks import Crop, crop_boxes, encode_crop, trimmed, window_of
from skyeye_det.prediction.visibility import ASSESSED, LEAST_SEEN, POST_UNSEEN, PRE_UNSEEN

NO_GRADE = np.uint8(NUM_DAMAGE_CLASSES + 1)
"""Of ``values``: a building that is not assessed; 0 in the competition's damage image."""

NOT_ASSESSED = "not assessed"
"""Its name among the grades."""

MIN_HOLE = 16.0
"""px; a courtyard of 4 x 4 px is the smallest that simplified outlines keep."""

TOLERANCE = 1.0
"""px that simplified and right-angled outlines may leave the mask's border by."""


@dataclass(frozen=True, eq=False)
class Buildings:
    """N buildings of an image, best score first.

    No two masks share more than half of the smaller one.

    Attributes:
        shape: (height, width) of the image in px.
        masks: N crops, bool: where each building is.
        values: N crops, uint8: what each adds to the damage image, 0 or 1..4, by the rule's ``outline`` and
            ``fill``; ``NO_GRADE`` where the building has none.
        scores: (N,) float32, 0..1.
        damage: (N,) int64, 0..3, by the rule's ``damage_weights``: not always the likeliest grade; -1 where
            the images do not show enough of the building.
        damage_probs: (N, 4) float32, at the rule's temperature; rows sum to 1, and are NaN where there is no
            grade.
        sources: N names: ``instance``, ``component`` (of the building map), ``region`` (of a semantic model)
            or ``footprint`` (a given outline).
        rule: what they were decided by.
        features: (N, D) float16, what each grade was read from; None: nobody kept it.
        uids: N names in results; None: their ranks.
        candidates: what the rule left out; listed, never rasterized, and some of them overlap.
        seen: (N, 3) float64, share of each building's pixels that the pre image shows, the post image, and
            both; None: it is not known yet.
        left_out: of candidates, why each is one: ``score``, below the rule's threshold, or ``duplicate``, of
            a building that is listed.
    """

    shape: tuple[int, int]
    masks: Sequence[Crop]
    values: Sequence[Crop]
    scores: np.ndarray
    damage: np.ndarray
    damage_probs: np.ndarray
    sources: Sequence[str]
    rule: DecisionRule
    features: np.ndarray | None = None
    uids: Sequence[str] | None = None
    seen: np.ndarray | None = None
    left_out: Sequence[str] | None = None
    candidates: "Buildings | None" = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def status(self) -> list[str]:
        """N times ``ASSESSED``, or which image does not show the building."""
        if self.seen is None:
            return [ASSESSED] * len(self)
        unseen = np.where(self.seen[:, 1] < LEAST_SEEN, POST_UNSEEN, PRE_UNSEEN)
        return np.where(self.seen[:, 2] < LEAST_SEEN, unseen, ASSESSED).tolist()

    def of(self, numbers: np.ndarray) -> "Buildings":
        """Those of numbers (K,), without candidates."""
        chosen = numbers.tolist()
        return replace(
            self,
            masks=[self.masks[index] for index in chosen],
            values=[self.values[index] for index in chosen],
            scores=self.scores[numbers],
            damage=self.damage[numbers],
            damage_probs=self.damage_probs[numbers],
            sources=[self.sources[index] for index in chosen],
            features=None if self.features is None else self.features[numbers],
            uids=None if self.uids is None else [self.uids[index] for index in chosen],
            seen=None if self.seen is None else self.seen[numbers],
            left_out=None if self.left_out is None else [self.left_out[index] for index in chosen],
            candidates=None,
        )

    def graded_where_seen(self, shares: Callable[[Sequence[Crop]], np.ndarray]) -> "Buildings":
        """The same buildings and candidates, without a grade where the images do not show them.

        Args:
            shares: gives ``seen`` of masks.
        """
        seen = shares(self.masks)
        blind = seen[:, 2] < LEAST_SEEN
        return replace(
            self,
            seen=seen,
            damage=np.where(blind, IGNORE_DAMAGE, self.damage),
            damage_probs=np.where(blind[:, None], np.float32(np.nan), self.damage_probs),
            values=[
                (corner, (image > 0) * NO_GRADE if hidden else image)
                for (corner, image), hidden in zip(self.values, blind.tolist(), strict=True)
            ],
            candidates=self.candidates and self.candidates.graded_where_seen(shares),
        )

    @property
    def boxes(self) -> np.ndarray:
        """(N, 4) int64, XYXY in px: the first pixel of each mask and the one after the last."""
        return crop_boxes(map(trimmed, self.masks))

    def rasterize(self) -> tuple[np.ndarray, np.ndarray]:
        """The competition's images.

        Returns:
            (localization 0/1, damage 0..4), uint8 (height, width); where buildings overlap, the better score.
            A building without a grade is in the first alone.
        """
        damage = np.zeros(self.shape, np.uint8)
        for crop in reversed(self.values):
            np.copyto(damage[window_of(crop)], crop[1], where=crop[1] > 0)
        return (damage > 0).view(np.uint8), np.where(damage == NO_GRADE, np.uint8(0), damage)

    def outlines(self, kind: str = "simplified") -> list[Parts]:
        """Outlines of the masks, in xBD's frame, where a coordinate names a pixel's centre.

        Args:
            kind: ``mask`` (exact), ``simplified`` or ``right-angled``.

        Returns:
            N tuples of polygons, each a tuple of rings (exterior, hole, ...), float64 (n, 2) of (x, y) in px.
        """
        tolerance = 0.0 if kind == "mask" else TOLERANCE
        hole = 0.0 if kind == "mask" else MIN_HOLE
        return polygonize(self.masks, tolerance, kind == "right-angled", hole)

    def to_coco(self, scene: str = "", image_id: int = 0, file_name: str = "") -> list[dict[str, Any]]:
        """COCO results, best score first.

        Args:
            scene: name, of which each building's ``uid`` is made.
            image_id: number of the image in the COCO file.
            file_name: of the pre image.

        Returns:
            A dict a building: ``segmentation`` (run lengths of the mask), ``bbox`` XYWH px, ``score``,
            ``damage`` 0..3 as the rule has it, ``likeliest_damage`` 0..3 without its weights,
            ``damage_probs``, all three null where ``status`` says that the building is not assessed;
            ``source``, ``uid``; where the rule's outline is ``simplified`` or
            ``right-angled`` also ``polygons``, flat as in COCO files, and the run lengths are theirs.
        """
        masks, extra = list(self.masks), [dict[str, Any]() for _ in self.masks]
        if self.rule.outline in ("simplified", "right-angled"):
            outlines = self.outlines(self.rule.outline)
            masks = filled_outlines(outlines, self.shape)
            extra = [
                {"polygons": [np.round(ring, 2).tolist() for ring in segmentation_from_parts(parts)]}
                for parts in outlines
            ]
        rows = zip(masks, self.boxes.tolist(), self._records(scene), extra, strict=True)
        return [
            {
                "image_id": image_id,
                "file_name": file_name,
                "scene": scene,
                "category_id": 1,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "segmentation": encode_crop(*mask, self.shape),
                **record,
                **polygons,
            }
            for mask, (x0, y0, x1, y1), record, polygons in rows
        ]

    def to_geojson(
        self, kind: str = "simplified", transform: Sequence[float] | None = None
    ) -> dict[str, Any]:
        """A GeoJSON feature collection.

        Args:
            kind: of ``outlines``.
            transform: (a, b, c, d, e, f) from px to coordinates, x' = a x + b y + c, y' = d x + e y + f;
                (0, 0) is the corner of the first pixel, as in rasterio. None: px, with y pointing down.

        Returns:
            A feature a building, along the outer edges of its pixels: a house of 20 x 20 px has 400 px².
        """
        a, b, c, d, e, f = transform or (1, 0, 0, 0, 1, 0)
        features = []
        geometries = outline_geometries(self.outlines(kind)).tolist()
        for geometry, record in zip(geometries, self._records(""), strict=True):
            polygons = [
                [
                    [[a * x + b * y + c, d * x + e * y + f] for x, y in ring.coords]
                    for ring in (part.exterior, *part.interiors)
                ]
                for part in getattr(geometry, "geoms", [geometry])
            ]
            features.append(
                {
                    "type": "Feature",
                    "geometry": {"type": "MultiPolygon", "coordinates": polygons},
                    "properties": record,
                }
            )
        return {"type": "FeatureCollection", "features": features}

    def counts(self) -> dict[str, int]:
        """Number of buildings of each grade, by its name, and of those that are not assessed."""
        found = {grade.subtype: int(np.count_nonzero(self.damage == grade)) for grade in DamageClass}
        return found | {NOT_ASSESSED: int(np.count_nonzero(self.damage == IGNORE_DAMAGE))}

    def _records(self, scene: str) -> Iterator[Mapping[str, Any]]:
        prefix = f"{scene}-" if scene else ""
        uids = self.uids or [f"{prefix}{rank:04d}" for rank in range(1, len(self) + 1)]
        rows = zip(
            uids,
            self.scores.tolist(),
            self.damage.tolist(),
            self.damage_probs.tolist(),
            self.sources,
            self.status,
            strict=True,
        )
        reasons = [{"left_out": reason} for reason in self.left_out] if self.left_out else [{}] * len(self)
        for (uid, score, damage, probs, source, status), reason in zip(rows, reasons, strict=True):
            known = damage != IGNORE_DAMAGE
            yield reason | {
                "uid": uid,
                "score": round(score, 5),
                "damage": damage if known else None,
                "likeliest_damage": int(np.argmax(probs)) if known else None,
                "damage_probs": [round(p, 5) for p in probs] if known else None,
                "source": source,
                "status": status,
            }

    def _repr_html_(self) -> str:
        """A picture for a notebook: outlines in the colours of their grades, and the counts."""
        height, width = self.shape
        paths = []
        for parts, damage in zip(self.outlines(), self.damage.tolist(), strict=True):
            rings = (" L".join(f"{x:g},{y:g}" for x, y in ring) for polygon in parts for ring in polygon)
            color = "rgb({},{},{})".format(*DAMAGE_COLORS[damage])
            paths.append(f'<path d="{" ".join(f"M{ring} Z" for ring in rings)}" fill="{color}"/>')
        counts = ", ".join(f"{number} {escape(name)}" for name, number in self.counts().items())
        size = f'viewBox="0 0 {width} {height}" width="{min(width, 640)}" style="background:#222"'
        picture = f'<svg xmlns="http://www.w3.org/2000/svg" {size} fill-rule="evenodd">{"".join(paths)}</svg>'
        return f"{picture}<p>{len(self)} buildings: {counts}</p>"
