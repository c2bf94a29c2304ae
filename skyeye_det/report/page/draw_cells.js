// Cells in place of buildings when far out: a ring of the grades, and how many buildings there are.
(function (skyeye) {
  "use strict";

  const ROOM_FOR_HOLE = 11; // screen px of the radius
  const ROOM_FOR_COUNT = 15; // screen px of the radius

  skyeye.drawCells = function (context, view) {
    const cells = skyeye.scene.cells || [];
    const most = cells.reduce((top, cell) => Math.max(top, cell.buildings), 1);
    for (const cell of cells) {
      const [x0, y0, x1, y1] = shownBox(cell.box);
      if (x0 > view.box[2] || x1 < view.box[0] || y0 > view.box[3] || y1 < view.box[1]) continue;
      const parts = partsOf(cell);
      const shown = parts.reduce((sum, [, count]) => sum + count, 0);
      if (!shown) continue;
      const half = (Math.min(x1 - x0, y1 - y0) / 2) * view.k;
      const radius = half * (0.45 + 0.5 * Math.sqrt(cell.buildings / most));
      drawRing(context, parts, shown, {
        x: ((x0 + x1) / 2) * view.k + view.x,
        y: ((y0 + y1) / 2) * view.k + view.y,
        radius: Math.min(Math.max(radius, 4 * view.ratio), 34 * view.ratio),
        ratio: view.ratio,
      });
    }
  };

  // The part of a cell that lies in the scene.
  function shownBox([x0, y0, x1, y1]) {
    const { width, height } = skyeye.scene;
    return [Math.max(x0, 0), Math.max(y0, 0), Math.min(x1, width), Math.min(y1, height)];
  }

  // [[damage, buildings], ...] of the grades that the filter lets through.
  function partsOf(cell) {
    const parts = cell.labelled.map((count, damage) => [damage, count]);
    parts.push([-1, cell.buildings - cell.assessed]);
    return parts.filter(([damage]) => skyeye.filter.damages.has(damage));
  }

  function drawRing(context, parts, shown, { x, y, radius, ratio }) {
    let from = -Math.PI / 2;
    context.fillStyle = "rgba(8, 14, 22, 0.82)";
    context.beginPath();
    context.arc(x, y, radius + ratio, 0, 2 * Math.PI);
    context.fill();
    const thick = radius < ROOM_FOR_HOLE * ratio ? radius : radius * 0.28;
    context.lineWidth = thick;
    for (const [damage, count] of parts) {
      const to = from + (count / shown) * 2 * Math.PI;
      context.strokeStyle = skyeye.colorOf(damage);
      context.beginPath();
      context.arc(x, y, radius - thick / 2, from, to);
      context.stroke();
      from = to;
    }
    if (radius < ROOM_FOR_COUNT * ratio) return;
    context.fillStyle = "#ffffff";
    context.font = `600 ${(shown > 999 ? 10 : 11.5) * ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.fillText(skyeye.number(shown), x, y);
  }

  skyeye.cellAt = (x, y) =>
    (skyeye.scene.cells || []).find(({ box }) => x >= box[0] && x < box[2] && y >= box[1] && y < box[3]) ||
    null;
})((window.skyeye = window.skyeye || {}));
