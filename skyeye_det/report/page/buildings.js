// Buildings of one chunk as typed arrays: parsed once, drawn and searched often.
(function (skyeye) {
  "use strict";

  skyeye.NOT_A_BUILDING = -2;
  skyeye.CANNOT_TELL = -3;
  skyeye.GONE = -4; // a reviewer took it back, or drew it anew

  // Content of a chunk's file -> {n, ids, damage, ..., xy, rings, firstRing, box}.
  skyeye.parseBuildings = function (key, content) {
    const n = content.id.length;
    const rings = content.rings.flat();
    const parsed = {
      key,
      n,
      ids: content.id.map(String),
      layer: Uint8Array.from(content.layer),
      ...gradesOf(content),
      score: Int16Array.from(content.score),
      status: Uint16Array.from(content.status),
      valid: Uint8Array.from(content.valid),
      area: Float32Array.from(content.area),
      shift: Float32Array.from(content.shift_m, (value) => (value === null ? NaN : value)),
      lon: Float64Array.from(content.lon),
      lat: Float64Array.from(content.lat),
      written: content.review,
      xy: new Float32Array(rings.reduce((sum, ring) => sum + ring.length, 0)),
      ringStart: new Uint32Array(rings.length + 1),
      firstRing: new Uint32Array(n + 1),
      boxes: new Float32Array(n * 4),
      box: [Infinity, Infinity, -Infinity, -Infinity],
    };
    let at = 0;
    rings.forEach((ring, index) => {
      parsed.xy.set(clockwise(ring), at);
      at += ring.length;
      parsed.ringStart[index + 1] = at;
    });
    content.rings.forEach((each, index) => {
      parsed.firstRing[index + 1] = parsed.firstRing[index] + each.length;
      const box = skyeye.boxOf(each);
      parsed.boxes.set(box, index * 4);
      if (!each.length) return;
      parsed.box = [
        Math.min(parsed.box[0], box[0]),
        Math.min(parsed.box[1], box[1]),
        Math.max(parsed.box[2], box[2]),
        Math.max(parsed.box[3], box[3]),
      ];
    });
    return parsed;
  };

  // Puts the grades of a chunk's file into its buildings; false where these are others.
  skyeye.regrade = function (chunk, content) {
    if (content.id.length !== chunk.n || content.id.some((id, k) => String(id) !== chunk.ids[k])) return false;
    Object.assign(chunk, gradesOf(content), { stamp: undefined });
    return true;
  };

  function gradesOf({ damage, p, raw }) {
    return {
      damage: Int8Array.from(damage),
      p: Uint16Array.from(p),
      raw: raw ? Uint16Array.from(raw) : null, // the model's own, before an adaptation
    };
  }

  skyeye.boxOfBuilding = (chunk, index) => Array.from(chunk.boxes.subarray(index * 4, index * 4 + 4));

  // Rings [[x, y, ...], ...] of one building.
  skyeye.ringsOf = function (chunk, index) {
    const rings = [];
    for (let ring = chunk.firstRing[index]; ring < chunk.firstRing[index + 1]; ring++) {
      rings.push(Array.from(chunk.xy.subarray(chunk.ringStart[ring], chunk.ringStart[ring + 1])));
    }
    return rings;
  };

  skyeye.probabilities = (chunk, index) => fourOf(chunk.p, index);

  // The model's own, where others are shown in their place; else null.
  skyeye.rawProbabilities = (chunk, index) =>
    skyeye.isAdapted() && chunk.raw && chunk.damage[index] >= 0 ? fourOf(chunk.raw, index) : null;

  function fourOf(thousandths, index) {
    return Array.from(thousandths.subarray(index * 4, index * 4 + 4), (p) => p / 1000);
  }

  // The grade that counts: the reviewer's where there is one, NOT_A_BUILDING, CANNOT_TELL, or the model's.
  skyeye.shownDamage = (chunk, index) => skyeye.reviewed(chunk).shown[index];

  // Index of the building at a px, or the nearest within `reach` px; null where there is none.
  skyeye.buildingAt = function (x, y, reach) {
    let best = null;
    for (const chunk of skyeye.loadedChunks()) {
      if (!touches(chunk.box, x, y, reach)) continue;
      for (let index = 0; index < chunk.n; index++) {
        const box = chunk.boxes.subarray(index * 4, index * 4 + 4);
        if (!touches(box, x, y, reach) || !skyeye.passes(chunk, index)) continue;
        const inside = holds(chunk, index, x, y);
        const away = inside ? 0 : Math.hypot(x - (box[0] + box[2]) / 2, y - (box[1] + box[3]) / 2);
        if (!best || away < best.away) best = { chunk, index, away };
      }
    }
    return best;
  };

  function touches(box, x, y, reach) {
    return x >= box[0] - reach && x <= box[2] + reach && y >= box[1] - reach && y <= box[3] + reach;
  }

  function holds(chunk, index, x, y) {
    let inside = false;
    for (const ring of skyeye.ringsOf(chunk, index)) {
      for (let k = 0, j = ring.length - 2; k < ring.length; j = k, k += 2) {
        const crosses = ring[k + 1] > y !== ring[j + 1] > y;
        const where = ring[k] + ((y - ring[k + 1]) / (ring[j + 1] - ring[k + 1])) * (ring[j] - ring[k]);
        if (crosses && x < where) inside = !inside;
      }
    }
    return inside;
  }

  // One way round, so that buildings drawn in one path never cut holes into each other.
  function clockwise(ring) {
    if (skyeye.surfaceOf(ring) >= 0) return ring;
    const turned = [];
    for (let k = ring.length - 2; k >= 0; k -= 2) turned.push(ring[k], ring[k + 1]);
    return turned;
  }
})((window.skyeye = window.skyeye || {}));
