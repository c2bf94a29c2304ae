// One A4 page for print: the overview, the figures, where they come from.
(function (skyeye) {
  "use strict";

  const WIDE = 1100; // canvas px, about 150 a printed inch
  const MOST_AREAS = 8;
  const MOST_LIMITS = 6;
  const picture = document.createElement("canvas");

  // Draws the overview once: the image after, and the cells or buildings on it.
  skyeye.drawOverview = async function () {
    const [x0, y0, x1, y1] = skyeye.sceneBox();
    const scale = WIDE / Math.max(x1 - x0, (y1 - y0) * 1.35);
    picture.width = Math.max(1, Math.round((x1 - x0) * scale));
    picture.height = Math.max(1, Math.round((y1 - y0) * scale));
    const context = picture.getContext("2d");
    context.fillStyle = "#10161d";
    context.fillRect(0, 0, picture.width, picture.height);
    await skyeye.drawImages(context, "post", [x0, y0, x1, y1], scale);
    context.fillStyle = "rgba(16, 22, 29, 0.25)";
    context.fillRect(0, 0, picture.width, picture.height);
    const view = { k: scale, x: -x0 * scale, y: -y0 * scale, ratio: 1.6, box: [x0, y0, x1, y1] };
    skyeye.drawCells(context, view);
  };

  skyeye.writeSheet = function () {
    const { element, text, scene } = skyeye;
    const areas = [...(scene.areas || [])].sort((a, b) => skyeye.severe(b).expected - skyeye.severe(a).expected);
    const limits = scene.limits.slice(0, MOST_LIMITS);
    skyeye.byId("sheet").replaceChildren(
      element("h1", {}, `SkyEye · ${text("sheet_title")}`),
      element("p", { class: "sides" }, `${text("before")} ${scene.pre_date || "–"} · ${text("after")} ${scene.post_date || "–"} · ${skyeye.seenText()}`),
      picture,
      element("h2", {}, text("grades_and_intervals")),
      skyeye.gradesTable(),
      element("p", { class: "small" }, text("interval_means")),
      ...(areas.length ? [element("h2", {}, text("worst_areas")), areasTable(areas.slice(0, MOST_AREAS))] : []),
      ...(limits.length ? [element("h2", {}, text("limits")), element("p", { class: "small" }, limits.join(" · "))] : []),
      element("p", { class: "small facts" }, skyeye.runFacts().map(([name, value]) => `${name}: ${value}`).join(" · ")),
      element("p", { class: "small" }, scene.attribution || ""),
    );
  };

  function areasTable(areas) {
    const { element, text, number } = skyeye;
    const head = ["area", "buildings", "severe", "not_assessed"].map((key) => element("th", { scope: "col" }, text(key)));
    const rows = areas.map((area) => {
      const { expected, low, high } = skyeye.severe(area);
      const cells = [number(area.buildings), `${number(expected)} (${number(low)} – ${number(high)})`, number(area.buildings - area.assessed)];
      return element("tr", {}, element("th", { scope: "row" }, area.name), cells.map((each) => element("td", {}, each)));
    });
    return element("table", { class: "figures" }, element("thead", {}, element("tr", {}, head)), element("tbody", {}, rows));
  }
})((window.skyeye = window.skyeye || {}));
