// The page's data read again, after all buildings were graded anew: no reload, and nothing else changes.
(function (skyeye) {
  "use strict";

  let coming = null;

  skyeye.renewData = function () {
    coming ??= renewed().finally(() => (coming = null));
    return coming;
  };

  async function renewed() {
    const [scene, { body: known }] = await Promise.all([
      skyeye.read("meta.js"),
      skyeye.ask("/api/reviews?since=0"), // with what the model says of each now
    ]);
    if (!scene) {
      skyeye.warn(skyeye.text("missing_file", { file: "meta.js" }));
      return;
    }
    skyeye.unwarn(skyeye.text("refused.page_is_old"));
    scene.status_texts = skyeye.scene.status_texts; // the same, and what reviewers' buildings added
    skyeye.scene = scene;
    if (known?.reviews && skyeye.takeReviews(known.reviews)) skyeye.refreshCheck(); // a poll then finds no news
    await skyeye.reloadChunks();
    if (skyeye.orderName() === "uncertain") skyeye.setOrder("uncertain", null);
    skyeye.writeOrder();
    skyeye.writeLayers();
    skyeye.writeRecord();
    skyeye.writeFigures();
    skyeye.writeCheck();
    skyeye.redraw();
    skyeye.writeShown();
    skyeye.countReviews();
    skyeye.drawOverview();
  }
})((window.skyeye = window.skyeye || {}));
