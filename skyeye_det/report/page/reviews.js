// What reviewers say of the buildings: as the page was written, and as the server has it now.
(function (skyeye) {
  "use strict";

  const GRADED = "grade";
  const byKey = new Map(); // "layer/id" -> the server's review
  let stamp = 0;

  // The chunk's reviews and shown grades, brought up to date: {shown: Int8Array (n,), reviews: Map}.
  skyeye.reviewed = function (chunk) {
    if (chunk.stamp === stamp) return chunk;
    chunk.stamp = stamp;
    chunk.shown = Int8Array.from(chunk.damage);
    chunk.reviews = new Map();
    for (let index = 0; index < chunk.n; index++) {
      const known = byKey.size ? byKey.get(skyeye.keyOf(chunk, index)) : undefined;
      const review = known ? known.review : chunk.written[index];
      if (known && (known.isDeleted || (known.rings && chunk.key !== "drawn")))
        chunk.shown[index] = skyeye.GONE;
      else if (review) {
        chunk.reviews.set(index, review);
        chunk.shown[index] = shownOf(review);
      }
    }
    return chunk;
  };

  skyeye.reviewOf = (chunk, index) => skyeye.reviewed(chunk).reviews.get(index) || null;

  skyeye.knownReviews = () => byKey.values();

  skyeye.lockOf = (chunk, index) => byKey.get(skyeye.keyOf(chunk, index))?.lock ?? null;

  // Takes in reviews as the server sends them; true where something differs from before.
  skyeye.takeReviews = function (reviews) {
    const isNew = reviews.filter(
      (each) => byKey.get(`${each.layer}/${each.id}`)?.text !== JSON.stringify(each),
    );
    if (!isNew.length) return false;
    for (const each of isNew) {
      const { id, layer, by, note, lock, deleted: isDeleted } = each;
      const rings = each.rings?.length ? each.rings : null;
      const review = each.verdict && each.verdict !== "none" ? { damage: damageOf(each), by, note } : null;
      const key = `${layer}/${id}`;
      const model = each.model ?? byKey.get(key)?.model;
      byKey.set(key, { id, layer, lock, isDeleted, rings, review, model, text: JSON.stringify(each) });
    }
    stamp++;
    skyeye.setDrawn(drawnBuildings());
    const { selected } = skyeye;
    if (selected && skyeye.shownDamage(selected.chunk, selected.index) === skyeye.GONE)
      skyeye.clearSelection();
    skyeye.redraw();
    skyeye.writeShown();
    skyeye.countReviews();
    return true;
  };

  function damageOf({ verdict, damage }) {
    if (verdict === GRADED) return damage;
    return verdict === "not_a_building" ? -1 : null;
  }

  function shownOf(review) {
    if (review.damage === null || review.damage === undefined) return skyeye.CANNOT_TELL;
    return review.damage === -1 ? skyeye.NOT_A_BUILDING : review.damage;
  }

  // Those that reviewers drew, as the content of a chunk's file.
  function drawnBuildings() {
    const drawn = [...byKey.values()].filter(({ rings, isDeleted }) => rings && !isDeleted);
    const middles = drawn.map(({ rings }) => {
      const [x0, y0, x1, y1] = skyeye.boxOf(rings);
      return skyeye.lonlat((x0 + x1) / 2, (y0 + y1) / 2) || [NaN, NaN];
    });
    return {
      id: drawn.map(({ id }) => id),
      layer: drawn.map(({ layer }) => layer),
      damage: drawn.map(() => -1),
      p: drawn.flatMap(() => [0, 0, 0, 0]),
      score: drawn.map(() => -1),
      status: drawn.map(drawnStatus),
      valid: drawn.map(() => 0),
      area: drawn.map(({ rings }) => Math.abs(skyeye.surfaceOf(rings[0])) * skyeye.scene.pixel_m ** 2),
      shift_m: drawn.map(() => null),
      rings: drawn.map(({ rings }) => rings),
      lon: middles.map(([lon]) => lon),
      lat: middles.map(([, lat]) => lat),
      review: drawn.map(() => null),
    };
  }

  function drawnStatus() {
    const { status_texts: texts, status } = skyeye.scene;
    if (!texts.includes(status.drawn)) texts.push(status.drawn);
    return texts.indexOf(status.drawn);
  }
})((window.skyeye = window.skyeye || {}));
