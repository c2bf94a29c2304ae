// The figures: grades with intervals, areas and cells, what was not assessed, the shift, the model, the run.
(function (skyeye) {
  "use strict";

  skyeye.writeFigures = function () {
    const { element, scene, text } = skyeye;
    const older = skyeye.isServed() ? [quiet("counted_at_start")] : [];
    skyeye
      .byId("pane-figures")
      .replaceChildren(
        element("div", { id: "counted" }),
        ...(scene.areas ? section("areas", [...older, skyeye.placesTable(scene.areas, "area")]) : []),
        ...section("cells", [...older, skyeye.placesTable(scene.cells || [], "cell")]),
        ...section("shift", skyeye.shiftMap()),
        ...section("limits", limits()),
        ...section("run", [facts()]),
      );
    skyeye.writeCounted();
    skyeye.byId("attribution").textContent = scene.attribution || "";
    skyeye.byId("run-title").textContent = [text("sheet_title"), scene.post_date].filter(Boolean).join(" · ");
  };

  // What reviews change at once.
  skyeye.writeCounted = function () {
    const grades = [
      ...skyeye.adaptedNotice(),
      skyeye.gradesTable(),
      quiet("interval_means"),
      ...skyeye.reviewedText(),
    ];
    skyeye
      .byId("counted")
      .replaceChildren(
        ...section("grades_and_intervals", grades),
        ...section("not_assessed_why", notAssessed()),
      );
  };

  // How many buildings count as people say, where any do.
  skyeye.reviewedText = function () {
    const { element, text, scene } = skyeye;
    if (!scene.reviewed) return [];
    return [element("p", { class: "small quiet" }, text("reviewed_by_people", { count: scene.reviewed }))];
  };

  skyeye.gradesTable = function () {
    const { element, text, number, scene } = skyeye;
    const most = Math.max(1, ...scene.counts.flatMap(({ labelled, high }) => [labelled, high]));
    const head = ["grade", "", "labelled", "expected", "interval"].map((key) =>
      element("th", { scope: "col" }, key && text(key)),
    );
    const rows = scene.counts.map(({ labelled, expected, low, high }, damage) =>
      element(
        "tr",
        {},
        element("th", { scope: "row" }, skyeye.gradeChip(damage)),
        element("td", { class: "plot" }, intervalBar(damage, { labelled, low, high }, most)),
        element("td", {}, number(labelled)),
        element("td", {}, number(expected)),
        element("td", {}, `${number(low)} – ${number(high)}`),
      ),
    );
    const missing = scene.buildings - scene.assessed;
    rows.push(
      element(
        "tr",
        {},
        element("th", { scope: "row" }, skyeye.gradeChip(-1)),
        element("td", {}),
        element("td", {}, number(missing)),
        element("td", {}, "–"),
        element("td", {}, "–"),
      ),
    );
    const total = [text("all"), "", number(scene.buildings), "", ""].map((each, k) =>
      element(k ? "td" : "th", k ? {} : { scope: "row" }, each),
    );
    return element(
      "table",
      { class: "figures" },
      element("thead", {}, element("tr", {}, head)),
      element("tbody", {}, rows),
      element("tfoot", {}, element("tr", {}, total)),
    );
  };

  // [[label, value], ...] of where the result comes from.
  skyeye.runFacts = function () {
    const { scene, text, number } = skyeye;
    const size = `${number(scene.width)} × ${number(scene.height)} px, ${number(scene.pixel_m, 2)} m`;
    const rows = [
      ["run_id", scene.run_id],
      ["finished", scene.finished],
      ["model", scene.model],
      ["rule", scene.rule],
      ["outlines", scene.outlines],
      ["grid", `${size}, ${scene.crs}`],
      ["image_before", [scene.pre_date, ...scene.sources.pre].filter(Boolean).join(", ")],
      ["image_after", [scene.post_date, ...scene.sources.post].filter(Boolean).join(", ")],
      ["software", `skyeye_det ${scene.skyeye_det}`],
    ];
    return rows.map(([key, value]) => [
      text(key),
      value === null || value === undefined || value === "" ? "–" : String(value),
    ]);
  };

  skyeye.seenText = () => skyeye.text("seen_share", { share: skyeye.percent(skyeye.scene.seen_share, 1) });

  skyeye.surface = (m2) => (m2 >= 1e5 ? `${skyeye.number(m2 / 1e6, 2)} km²` : `${skyeye.number(m2)} m²`);

  function intervalBar(damage, { labelled, low, high }, most) {
    const at = (value) => (value / most) * 100;
    const bar = skyeye.drawing("rect", {
      x: 0,
      y: 4,
      width: Math.max(at(labelled), 0), // while grades and reviews arrive one after the other
      height: 8,
      fill: skyeye.colorOf(damage),
      stroke: "#44515e",
      "stroke-width": 0.4,
    });
    const line = skyeye.drawing("path", {
      d: `M${at(low)} 5v6M${at(low)} 8H${at(high)}M${at(high)} 5v6`,
      class: "whisker",
    });
    return skyeye.drawing(
      "svg",
      { viewBox: "0 0 100 16", preserveAspectRatio: "none", "aria-hidden": "true" },
      bar,
      line,
    );
  }

  function notAssessed() {
    const { element, text, scene } = skyeye;
    const lines = [element("p", {}, skyeye.seenText())];
    const rows = scene.not_assessed.map(({ reason, area_m2: area }) => [
      skyeye.word(reason),
      skyeye.surface(area),
    ]);
    if (rows.length) lines.push(plainTable([text("reason"), text("surface")], rows));
    const statuses = Object.entries(scene.statuses).map(([status, count]) => [
      skyeye.word(status),
      skyeye.number(count),
    ]);
    if (statuses.length) lines.push(plainTable([text("status"), text("buildings")], statuses));
    if (scene.not_in_footprints)
      lines.push(
        element("p", {}, text("beside_footprints", { count: scene.not_in_footprints })),
      );
    return lines;
  }

  function limits() {
    const { element, text, scene } = skyeye;
    if (!scene.limits.length) return [element("p", {}, text("no_limits"))];
    return [
      element(
        "ul",
        {},
        scene.limits.map((each) => element("li", {}, each)),
      ),
    ];
  }

  function facts() {
    const { element } = skyeye;
    return element(
      "dl",
      { class: "record" },
      skyeye.runFacts().map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]),
    );
  }

  function plainTable(head, rows) {
    const { element } = skyeye;
    return element(
      "table",
      { class: "plain" },
      element(
        "thead",
        {},
        element(
          "tr",
          {},
          head.map((each) => element("th", { scope: "col" }, each)),
        ),
      ),
      element(
        "tbody",
        {},
        rows.map(([name, value]) =>
          element("tr", {}, element("th", { scope: "row" }, name), element("td", {}, value)),
        ),
      ),
    );
  }

  function section(key, content) {
    return [skyeye.element("h2", {}, skyeye.text(key)), ...content];
  }

  function quiet(key) {
    return skyeye.element("p", { class: "quiet" }, skyeye.text(key));
  }
})((window.skyeye = window.skyeye || {}));
