// The scene's figures while people review: buildings that have a verdict count as it says, with certainty.
(function (skyeye) {
  "use strict";

  // Counts the known reviews into what the model says; the figures of the whole scene are then those.
  skyeye.countReviews = function () {
    const { scene } = skyeye;
    const sums = structuredClone(scene.by_model);
    let reviewed = 0;
    for (const { layer, model, review, isDeleted } of skyeye.knownReviews()) {
      if (layer !== 0) continue; // those in no footprint are counted apart
      if (model && (review || isDeleted)) add(sums, model, -1);
      if (!review || isDeleted) continue;
      reviewed++;
      if (review.damage !== -1) add(sums, asModel(review), 1);
    }
    const { buildings, assessed, statuses } = sums;
    Object.assign(scene, { counts: countsOf(sums), buildings, assessed, statuses, reviewed });
    skyeye.writeCounted();
    skyeye.writeGradeCounts();
    skyeye.writeSheet();
  };

  function asModel({ damage }) {
    const { status } = skyeye.scene;
    if (damage === null) return { status: status.cannot_tell, damage, p: null };
    return { status: status.assessed, damage, p: [0, 1, 2, 3].map((grade) => Number(grade === damage)) };
  }

  function add(sums, { status, damage, p }, by) {
    sums.buildings += by;
    sums.statuses[status] = (sums.statuses[status] ?? 0) + by;
    if (!sums.statuses[status]) delete sums.statuses[status];
    if (damage === null) return;
    sums.assessed += by;
    sums.labelled[damage] += by;
    p.forEach((share, grade) => {
      sums.expected[grade] += by * share;
      sums.variance[grade] += by * share * (1 - share);
      sums.certain[grade] += by * (share === 1);
    });
  }

  // As `counts` of the package's scene/summary.py.
  function countsOf({ assessed, labelled, expected, variance, certain, deviations }) {
    const sure = certain.reduce((sum, each) => sum + each, 0);
    return labelled.map((count, grade) => {
      const reach = deviations * Math.sqrt(Math.max(variance[grade], 0));
      return {
        labelled: count,
        expected: expected[grade],
        low: Math.max(expected[grade] - reach, certain[grade]),
        high: Math.min(expected[grade] + reach, assessed - sure + certain[grade]),
      };
    });
  }
})((window.skyeye = window.skyeye || {}));
