// Starts the page.
(function (skyeye) {
  "use strict";

  const VERSION = 1; // of the data files

  document.addEventListener("DOMContentLoaded", async () => {
    skyeye.readTexts();
    skyeye.writeTexts();
    skyeye.scene = await skyeye.read("meta.js");
    if (!skyeye.scene || skyeye.scene.version !== VERSION) {
      skyeye.warn(skyeye.text(skyeye.scene ? "other_version" : "missing_file", { file: "meta.js" }));
      return;
    }
    skyeye.startPanel();
    skyeye.writeTexts();
    write(); // the map's first look around writes into the panel
    skyeye.startMap();
    skyeye.startComparison();
    skyeye.startDrawingTool();
    skyeye.startKeys();
    skyeye.writeTexts();
    skyeye.writeSides();
    skyeye.writeShown();
    skyeye.byId("language").addEventListener("change", ({ target }) => {
      skyeye.chooseLanguage(target.value);
      skyeye.writeTexts();
      skyeye.writeSides();
      write();
      skyeye.writeShown();
      skyeye.redraw();
    });
    skyeye.byId("search").addEventListener("submit", (event) => {
      event.preventDefault();
      const id = skyeye.byId("search-id").value.trim();
      if (id) skyeye.searchId(id);
    });
    skyeye.byId("print").addEventListener("click", () => window.print());
    await skyeye.startReview();
    skyeye.drawOverview();
  });

  function write() {
    skyeye.writeLayers();
    skyeye.writeBuildingPane();
    skyeye.writeFigures();
    skyeye.writeCheck();
    skyeye.writeHelp();
    skyeye.writeSheet();
  }
})((window.skyeye = window.skyeye || {}));
