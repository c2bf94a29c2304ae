// One A4 page for print: the overview, the figures, where they come from.
(function (skyeye) {
  "use strict";

  const WIDE = 1100; // canvas px, about 150 a printed inch
  const FEW = 3000; // buildings that are still told apart on paper
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
    if (skyeye.scene.buildings <= FEW) {
      await Promise.all(Object.keys(skyeye.scene.chunks).map(skyeye.wholeChunk));
      skyeye.drawBuildings(context, view);
    } else skyeye.drawCells(context, view);
    drawScale(context, scale);
  };

  // A scale bar; north is up.
  function drawScale(context, scale) {
    const { length, text } = skyeye.scaleLength(skyeye.scene.pixel_m / scale, picture.width / 5);
    const name = `${text}   N ↑`;
    const wide = (length / skyeye.scene.pixel_m) * scale;
    const [right, low] = [picture.width - 16, picture.height - 16];
    context.font = "600 19px system-ui, sans-serif";
    context.fillStyle = "rgba(16, 22, 29, 0.8)";
    const ground = Math.max(wide, context.measureText(name).width);
    context.fillRect(right - ground - 14, low - 40, ground + 28, 54);
    context.fillStyle = "#ffffff";
    context.fillRect(right - wide, low - 6, wide, 6);
    context.textAlign = "right";
    context.textBaseline = "alphabetic";
    context.fillText(name, right, low - 15);
  }

  skyeye.writeSheet = function () {
    const { element, text, scene } = skyeye;
    const areas = [...(scene.areas || [])].sort(
      (a, b) => skyeye.severe(b).expected - skyeye.severe(a).expected,
    );
    const dated = [
      ["before", scene.pre_date],
      ["after", scene.post_date],
    ].filter(([, date]) => date);
    const dates = dated.map(([side, date]) => `${text(side)} ${date}`);
    const older = skyeye.isServed() ? [element("p", { class: "small" }, text("counted_at_start"))] : [];
    const limits = scene.limits.slice(0, MOST_LIMITS);
    skyeye.byId("sheet").classList.toggle("roomy", !areas.length);
    skyeye.byId("sheet").replaceChildren(
      element("h1", {}, `SkyEye · ${text("sheet_title")}`),
      element("p", { class: "sides" }, [...dates, skyeye.seenText()].join(" · ")),
      picture,
      element("h2", {}, text("grades_and_intervals")),
      skyeye.gradesTable(),
      element("p", { class: "small" }, [skyeye.adaptedText(), text("interval_means")].join(" ").trim()),
      ...skyeye.reviewedText(),
      ...(areas.length
        ? [element("h2", {}, text("worst_areas")), ...older, areasTable(areas.slice(0, MOST_AREAS))]
        : []),
      ...(limits.length
        ? [element("h2", {}, text("limits")), element("p", { class: "small" }, limits.join(" · "))]
        : []),
      element(
        "p",
        { class: "small facts" },
        skyeye
          .runFacts()
          .map(([name, value]) => `${name}: ${value}`)
          .join(" · "),
      ),
      element("p", { class: "small" }, scene.attribution || ""),
    );
  };

  function areasTable(areas) {
    const { element, text, number } = skyeye;
    const head = ["name_of.area", "buildings", "severe", "not_assessed"].map((key) =>
      element("th", { scope: "col" }, text(key)),
    );
    const rows = areas.map((area) => {
      const { expected, low, high } = skyeye.severe(area);
      const cells = [
        number(area.buildings),
        `${number(expected)} (${number(low)} – ${number(high)})`,
        number(area.buildings - area.assessed),
      ];
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, area.name),
        cells.map((each) => element("td", {}, each)),
      );
    });
    return element(
      "table",
      { class: "figures" },
      element("thead", {}, element("tr", {}, head)),
      element("tbody", {}, rows),
    );
  }
})((window.skyeye = window.skyeye || {}));
