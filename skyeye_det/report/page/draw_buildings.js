// How a building looks: its grade's colour, hatched where it has none, dashed where it is no building.
(function (skyeye) {
  "use strict";

  const CASING = "rgba(8, 14, 22, 0.75)";
  const SMALL = 7; // screen px of a building's side, below which outlines are thin
  const ROOM_FOR_SIGN = 26; // screen px
  const patterns = new Map();

  skyeye.colorOf = (damage) =>
    damage >= 0 ? skyeye.scene.grades[damage].color : skyeye.scene.not_assessed_color;

  // Draws what touches `view.box`; `view` maps px to canvas px: k * x + view.x.
  skyeye.drawBuildings = function (context, view) {
    const looks = new Map(); // shown damage -> path of all of them
    const reviewed = new Path2D();
    const signs = [];
    let count = 0;
    let sides = 0;
    for (const chunk of skyeye.chunksTouching(view.box)) {
      for (let index = 0; index < chunk.n; index++) {
        if (!isIn(chunk.boxes, index * 4, view.box) || !skyeye.passes(chunk, index)) continue;
        const damage = skyeye.shownDamage(chunk, index);
        if (!looks.has(damage)) looks.set(damage, { whole: new Path2D(), holed: [] });
        const { whole, holed } = looks.get(damage);
        const first = chunk.firstRing[index];
        const isHoled = chunk.firstRing[index + 1] - first > 1;
        const path = isHoled ? new Path2D() : whole;
        for (let ring = first; ring < chunk.firstRing[index + 1]; ring++) trace(path, chunk, ring, view);
        if (isHoled) holed.push(path);
        const side = (chunk.boxes[index * 4 + 2] - chunk.boxes[index * 4]) * view.k;
        count++;
        sides += side;
        if (skyeye.reviewOf(chunk, index)) mark(reviewed, chunk, index, view);
        if (side > ROOM_FOR_SIGN * view.ratio && skyeye.look.signs) signs.push([chunk, index, damage]);
      }
    }
    const isSmall = sides / count < SMALL * view.ratio;
    for (const [damage, { whole, holed }] of looks) {
      fill(context, whole, damage, "nonzero", view);
      holed.forEach((path) => fill(context, path, damage, "evenodd", view));
      for (const path of [whole, ...holed]) stroke(context, path, damage, isSmall, view);
    }
    context.fillStyle = "#ffffff";
    context.strokeStyle = CASING;
    context.lineWidth = view.ratio;
    context.fill(reviewed);
    context.stroke(reviewed);
    drawSigns(context, signs, view);
  };

  function trace(path, chunk, ring, view) {
    const { xy } = chunk;
    const start = chunk.ringStart[ring];
    const end = chunk.ringStart[ring + 1];
    path.moveTo(xy[start] * view.k + view.x, xy[start + 1] * view.k + view.y);
    for (let at = start + 2; at < end; at += 2)
      path.lineTo(xy[at] * view.k + view.x, xy[at + 1] * view.k + view.y);
    path.closePath();
  }

  // A white dot at the corner of a building that somebody has looked at.
  function mark(path, chunk, index, view) {
    const x = chunk.boxes[index * 4 + 2] * view.k + view.x;
    const y = chunk.boxes[index * 4 + 1] * view.k + view.y;
    path.moveTo(x + 3 * view.ratio, y);
    path.arc(x, y, 3 * view.ratio, 0, 2 * Math.PI);
  }

  function fill(context, path, damage, rule, view) {
    if (skyeye.look.outline || damage === skyeye.NOT_A_BUILDING) return;
    context.globalAlpha = damage >= 0 ? 0.55 : 0.8;
    context.fillStyle = damage >= 0 ? skyeye.colorOf(damage) : hatch(context, view.ratio);
    context.fill(path, rule);
    context.globalAlpha = 1;
  }

  function stroke(context, path, damage, isSmall, view) {
    const isOutline = skyeye.look.outline;
    context.lineJoin = "round";
    context.setLineDash(damage === skyeye.NOT_A_BUILDING ? [3 * view.ratio, 3 * view.ratio] : []);
    if (!isSmall) {
      context.strokeStyle = CASING;
      context.lineWidth = (isOutline ? 4.5 : 3) * view.ratio;
      context.stroke(path);
    }
    context.strokeStyle = skyeye.colorOf(damage);
    context.lineWidth = (isSmall ? 0.75 : isOutline ? 2.5 : 1.5) * view.ratio;
    context.stroke(path);
    context.setLineDash([]);
  }

  function hatch(context, ratio) {
    const color = skyeye.scene.not_assessed_color;
    const name = `${color} ${ratio}`;
    if (patterns.has(name)) return patterns.get(name);
    const side = 6 * ratio;
    const small = document.createElement("canvas");
    small.width = small.height = side;
    const pen = small.getContext("2d");
    pen.fillStyle = color;
    pen.fillRect(0, 0, side, side);
    pen.strokeStyle = "#ffffff";
    pen.lineWidth = 1.2 * ratio;
    for (const from of [-side, 0, side]) {
      pen.moveTo(from, side);
      pen.lineTo(from + side, 0);
    }
    pen.stroke();
    patterns.set(name, context.createPattern(small, "repeat"));
    return patterns.get(name);
  }

  // Grade 1 to 4 as a digit, so that colour is never all there is.
  function drawSigns(context, signs, view) {
    context.font = `600 ${12 * view.ratio}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    context.lineWidth = 3 * view.ratio;
    context.strokeStyle = "rgba(8, 14, 22, 0.85)";
    context.fillStyle = "#ffffff";
    for (const [chunk, index, damage] of signs) {
      const [x0, y0, x1, y1] = chunk.boxes.subarray(index * 4, index * 4 + 4);
      const at = [((x0 + x1) / 2) * view.k + view.x, ((y0 + y1) / 2) * view.k + view.y];
      const sign = skyeye.signOf(damage);
      context.strokeText(sign, ...at);
      context.fillText(sign, ...at);
    }
  }

  skyeye.signOf = function (damage) {
    if (damage >= 0) return String(damage + 1);
    return damage === skyeye.NOT_A_BUILDING ? "×" : damage === skyeye.CANNOT_TELL ? "?" : "–";
  };

  function isIn(boxes, at, box) {
    return (
      boxes[at] <= box[2] && boxes[at + 2] >= box[0] && boxes[at + 1] <= box[3] && boxes[at + 3] >= box[1]
    );
  }
})((window.skyeye = window.skyeye || {}));
