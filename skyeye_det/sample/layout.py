"""The plan of a scene: streets, plots, buildings, trees, fields and water, before a pixel is coloured."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.random import Generator

from skyeye_det.sample import streets, texture
from skyeye_det.sample.kinds import SETTLEMENTS, Settlement
from skyeye_det.sample.streets import Frame, Grid, House, Lot, build
from skyeye_det.sample.texture import Color, fixed, pick, pick_color, uniform, whole

MARGIN = 10
"""px drawn beyond the tile on each side, so a shifted post image has pixels at its edges."""

SMALLEST = 5.0
"""px: a building whose part inside the tile is thinner than this is not built."""


@dataclass
class Plan:
    """What stands where, in canvas px (tile px + ``MARGIN``); images are uint8 ``(side, side)``."""

    side: int
    settlement: str
    wooded: np.ndarray  # evenly spread: woods grow where it is high
    water: np.ndarray  # 0..255: rivers, lakes, sea
    field_frame: Frame  # rows of crops run along it
    palette: tuple[Color, ...]  # of the roofs
    occupied: np.ndarray  # 1 where a building stands, 2 on roads and water
    roads: list[tuple[np.ndarray, float]] = field(default_factory=list)  # centre line, width
    lots: list[np.ndarray] = field(default_factory=list)
    drives: list[np.ndarray] = field(default_factory=list)
    fields: list[np.ndarray] = field(default_factory=list)
    houses: list[House] = field(default_factory=list)
    berths: list[tuple[float, float, float, float]] = field(default_factory=list)  # of cars: x, y, direction
    trees: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))  # x, y, radius


def draw_plan(rng: Generator, size: int, settlement: str, blank: np.ndarray | None) -> Plan:
    """Plans a scene on a tile of ``size`` px.

    Nothing is built where ``blank``, uint8 ``(canvas, canvas)``, is 255: the images have no data there.
    """
    side = size + 2 * MARGIN
    shape = (side, side)
    style = SETTLEMENTS[settlement]
    wooded = texture.fractal_noise(rng, shape, 160, 4)
    plan = Plan(
        side, settlement, wooded, _draw_water(rng, side, settlement), streets.draw_frame(rng, side, False),
        style.palettes[int(rng.integers(len(style.palettes)))], np.zeros(shape, np.uint8),
    )  # fmt: skip
    plan.occupied[plan.water > 110] = 2
    if blank is not None:
        plan.occupied[blank > 0] = 2
    frame = streets.draw_frame(rng, side, style.bent)
    grid = streets.draw_grid(rng, frame, side, style.rows, style.crosses, style.street)
    _reserve_roads(plan, grid)
    _settle(rng, plan, grid, style)
    if settlement in ("village", "empty", "works"):
        _draw_fields(rng, plan)
    plan.trees = _plant(rng, plan, style)
    return plan


def _draw_water(rng: Generator, side: int, settlement: str) -> np.ndarray:
    water = np.zeros((side, side), np.uint8)
    kind = pick(rng, {"none": 62, "river": 16, "lake": 14, "coast": 8})
    if kind == "none":
        return water
    frame = streets.draw_frame(rng, side, True)
    if kind == "river":
        course = frame.line((-1.2 * side, uniform(rng, -0.3, 0.3) * side), (1.2 * side, 0.0), 24)
        cv2.polylines(water, [fixed(course)], False, 255, whole(rng, 14, 70), shift=texture.SHIFT)
    elif kind == "lake":
        u, radius = uniform(rng, -0.3, 0.3) * side, whole(rng, 22, 70 if settlement != "empty" else 180)
        for _ in range(4):
            place = (u + uniform(rng, -1.2, 1.2) * radius, uniform(rng, -0.6, 0.6) * radius)
            x, y = fixed(frame.to_canvas(np.array([place])))[0].tolist()
            cv2.circle(water, (x, y), whole(rng, radius // 2, radius) * 16, 255, -1, shift=texture.SHIFT)
    else:
        shore = uniform(rng, 0.15, 0.35) * side
        sea = frame.to_canvas(np.array([(-1.5 * side, shore), (1.5 * side, shore), (1.5 * side, 2.0 * side),
                                        (-1.5 * side, 2.0 * side)]))  # fmt: skip
        cv2.fillPoly(water, [fixed(sea)], 255, shift=texture.SHIFT)
    # A blurred outline moved by noise is a bank; the steep ramp keeps it sharp.
    reach = 75 if kind == "lake" else 31
    soft = cv2.GaussianBlur(water, (reach, reach), 0).astype(np.int16)
    bank = soft + (texture.fractal_noise(rng, (side, side), 60, 4).astype(np.int16) - 128) * 7 // 8
    return np.clip((bank - 128) * 12 + 128, 0, 255).astype(np.uint8)


def _reserve_roads(plan: Plan, grid: Grid) -> None:
    thickness = int(grid.width) + 1
    lines = [grid.row(j, k) for j, k in grid.segments()]
    lines += [grid.cross(j, k) for j in range(len(grid.v_lines) - 1) for k in range(len(grid.u_lines))]
    points = [fixed(line) for line in lines]
    cv2.polylines(plan.occupied, points, False, 2, thickness, shift=texture.SHIFT)


def _settle(rng: Generator, plan: Plan, grid: Grid, style: Settlement) -> None:
    """Builds on the plots of the built-up land and keeps the streets that lead to them."""
    open_land = texture.value_noise(rng, plan.occupied.shape, min(300, max(64, plan.side // 3)))
    limit = whole(rng, *style.land) * 255 // 100
    used: set[tuple[int, int]] = set()
    main = (int(rng.integers(len(grid.v_lines))), int(rng.integers(len(grid.u_lines))))
    for j, k in grid.segments():
        built = False
        for lot in grid.lots(rng, j, k, style.lot):
            x, y = (int(c) for c in grid.frame.place(*lot.point(0.5, lot.depth / 2)))
            inside = 0 <= x < plan.side and 0 <= y < plan.side
            if inside and open_land[y, x] <= limit and whole(rng, 0, 99) < style.built:
                built |= _build_on(rng, plan, grid.frame, lot, style)
        if built or j == main[0]:
            used |= {(j, k), (j, k + 1)}
            plan.roads.append((grid.row(j, k), grid.width))
    for j in range(len(grid.v_lines) - 1):
        for k in range(len(grid.u_lines)):
            if k == main[1] or {(j, k), (j + 1, k)} <= used:
                plan.roads.append((grid.cross(j, k), grid.width))
    for line, width in plan.roads:
        plan.berths += _berths_along(line, width)
    plan.berths = [berth for berth in plan.berths if _is_dry(plan, berth)]


def _build_on(rng: Generator, plan: Plan, frame: Frame, lot: Lot, style: Settlement) -> bool:
    shape = pick(rng, style.shapes)
    width = (lot.u1 - lot.u0) * uniform(rng, *style.fill)
    depth = min(uniform(rng, *style.depth), lot.depth - 4)
    setback = min(uniform(rng, *style.setback), max(1.0, lot.depth - depth - 2))
    if shape == "courtyard" and min(width, depth) < 26:
        shape = "block"
    share = 0.5 if style.fill[1] > 0.9 else uniform(rng, 0.42, 0.58)
    middle = lot.point(share, setback + depth / 2)
    built = _place(rng, plan, frame, middle, (shape, width, depth), style)
    plan.lots.append(frame.to_canvas(lot.area(0.02, 0.98, 0, lot.depth - 1)))
    if not built:
        return False
    if not style.paved and whole(rng, 0, 99) < 72:
        side = whole(rng, 0, 1) * 2 - 1
        middle_share = share + side * (width / 2 - 6) / (lot.u1 - lot.u0)
        half = uniform(rng, 3.0, 5.5) / (lot.u1 - lot.u0)
        drive = lot.area(middle_share - half, middle_share + half, -2, setback + 1)
        plan.drives.append(frame.to_canvas(drive))
    if whole(rng, 0, 99) < style.sheds:
        shed = ("block", uniform(rng, 8, 16), uniform(rng, 8, 13))
        back = setback + depth + uniform(rng, 10, 22)
        if back + 8 < lot.depth:
            _place(rng, plan, frame, lot.point(uniform(rng, 0.25, 0.75), back), shed, style)
    return True


def _place(
    rng: Generator, plan: Plan, frame: Frame, middle: tuple[float, float], form: tuple[str, float, float],
    style: Settlement,
) -> bool:  # fmt: skip
    """Adds a building unless it would touch another, a road, water, or leave the tile."""
    shape, width, depth = form
    looks = (pick(rng, style.roofs), pick_color(rng, plan.palette, 14), uniform(rng, *style.height))
    house = build(rng, shape, (width, depth), frame.place(*middle), frame.along(*middle), looks)
    left, top, right, bottom = house.box
    low, high = MARGIN, plan.side - MARGIN
    if min(right, high) - max(left, low) < SMALLEST or min(bottom, high) - max(top, low) < SMALLEST:
        return False
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, plan.side), min(bottom, plan.side)
    ground = plan.occupied[top:bottom, left:right]
    mask = np.zeros_like(ground)
    cv2.fillPoly(mask, [house.pixel_rings(left, top)[0]], 1)
    if np.any(ground[mask > 0]):
        return False
    ground[cv2.dilate(mask, np.ones((3, 3), np.uint8)) > 0] = 1
    plan.houses.append(house)
    return True


def _berths_along(line: np.ndarray, width: float) -> list[tuple[float, float, float, float]]:
    berths = []
    steps = line[1:] - line[:-1]
    for start, step in zip(line[:-1], steps, strict=True):
        length = float(np.sqrt(step[0] * step[0] + step[1] * step[1]))
        dx, dy = float(step[0]) / length, float(step[1]) / length
        x, y = float(start[0]), float(start[1])
        berths += [(x - dy * width * side, y + dx * width * side, dx, dy) for side in (-0.28, 0.28)]
    return berths


def _is_dry(plan: Plan, berth: tuple[float, float, float, float]) -> bool:
    x, y = int(berth[0]), int(berth[1])
    return 0 <= x < plan.side and 0 <= y < plan.side and plan.water[y, x] == 0


def _draw_fields(rng: Generator, plan: Plan) -> None:
    grid = streets.draw_grid(rng, plan.field_frame, plan.side, (90, 260), (120, 340), 0)
    for j, k in ((j, k) for j in range(len(grid.v_lines) - 1) for k in range(len(grid.u_lines) - 1)):
        u0, u1 = grid.u_lines[k] + 2, grid.u_lines[k + 1] - 2
        v0, v1 = grid.v_lines[j] + 2, grid.v_lines[j + 1] - 2
        plan.fields.append(plan.field_frame.to_canvas(np.array([(u0, v0), (u1, v0), (u1, v1), (u0, v1)])))


def _plant(rng: Generator, plan: Plan, style: Settlement) -> np.ndarray:
    """Trees: close together in the woods, single ones in yards; float64 ``(n, 3)`` of x, y, radius."""
    count = plan.side * plan.side // 70
    spots = rng.random((count, 3))
    x, y = np.floor(spots[:, :2] * plan.side).astype(np.intp).T
    # Some lands are wooded all over, some bare.
    density = np.clip((plan.wooded.astype(np.int16) - whole(rng, 70, 200)) * 4, whole(rng, 2, 12), 250)
    near = cv2.dilate((plan.occupied == 1).astype(np.uint8), np.ones((5, 5), np.uint8))
    lots = np.zeros_like(plan.occupied)
    for lot in plan.lots:
        cv2.fillPoly(lots, [fixed(lot)], 1, shift=texture.SHIFT)
    density[lots > 0] = style.yard_trees * whole(rng, 14, 130) // 100
    density[plan.occupied == 2] = 0
    density[near > 0] = 3
    kept = rng.integers(0, 256, count) < density[y, x]
    radius = 2.6 + spots[:, 2] * spots[:, 2] * 6.5
    return np.round(np.stack([spots[:, 0] * plan.side, spots[:, 1] * plan.side, radius], 1)[kept], 2)
