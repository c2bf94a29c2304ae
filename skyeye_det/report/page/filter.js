// Which buildings are shown.
(function (skyeye) {
  "use strict";

  const OF_ITS_GRADE = "own";

  skyeye.filter = {
    damages: new Set([-1, 0, 1, 2, 3]),
    of: OF_ITS_GRADE, // or a grade 0..3, or "severe": major and destroyed
    least: 0, // thousandths
    most: 1000,
    status: null, // index, or null for all
    reviewed: "all", // "yes", "no", "changed"
    layer: null, // 0, 1, or null for both
  };
  skyeye.look = { outline: false, signs: true };

  skyeye.passes = function (chunk, index) {
    const { damages, least, most, status, reviewed, layer } = skyeye.filter;
    const damage = skyeye.shownDamage(chunk, index);
    if (damage === skyeye.GONE) return false;
    if (!damages.has(damage < -1 ? -1 : damage)) return false;
    if (status !== null && chunk.status[index] !== status) return false;
    if (layer !== null && chunk.layer[index] !== layer) return false;
    if (least > 0 || most < 1000) {
      const p = chosenProbability(chunk, index);
      if (chunk.damage[index] < 0 || p < least || p > most) return false;
    }
    return reviewed === "all" || passesReview(chunk, index, reviewed);
  };

  // How many of the loaded buildings in a box are shown: [shown, all].
  skyeye.countShown = function (box) {
    let shown = 0;
    let all = 0;
    for (const chunk of skyeye.chunksTouching(box)) {
      for (let index = 0; index < chunk.n; index++) {
        const x = (chunk.boxes[index * 4] + chunk.boxes[index * 4 + 2]) / 2;
        const y = (chunk.boxes[index * 4 + 1] + chunk.boxes[index * 4 + 3]) / 2;
        if (x < box[0] || x >= box[2] || y < box[1] || y >= box[3]) continue;
        if (skyeye.shownDamage(chunk, index) === skyeye.GONE) continue;
        all++;
        if (skyeye.passes(chunk, index)) shown++;
      }
    }
    return [shown, all];
  };

  function chosenProbability(chunk, index) {
    const at = index * 4;
    if (skyeye.filter.of === "severe") return chunk.p[at + 2] + chunk.p[at + 3];
    if (skyeye.filter.of === OF_ITS_GRADE) return chunk.p[at + Math.max(chunk.damage[index], 0)];
    return chunk.p[at + Number(skyeye.filter.of)];
  }

  function passesReview(chunk, index, wanted) {
    const review = skyeye.reviewOf(chunk, index);
    if (wanted === "no") return !review;
    return Boolean(review) && (wanted === "yes" || review.damage !== chunk.damage[index]);
  }
})((window.skyeye = window.skyeye || {}));
