// The legend, which is the filter too, and how buildings are drawn.
(function (skyeye) {
  "use strict";

  let areMarksShown = true;
  let opacity = 100;

  skyeye.writeLayers = function () {
    const { element, text, scene } = skyeye;
    skyeye.byId("pane-layers").replaceChildren(
      element("p", { class: "lead", id: "assessed-of" }),
      group("grades", grades()),
      element("p", { id: "shown", class: "quiet" }),
      group("filter", [
        probability(),
        choice(
          "status",
          [["", text("all")], ...scene.status_texts.map((each, k) => [k, skyeye.word(each)])],
          skyeye.filter.status ?? "",
          (value) => {
            skyeye.filter.status = value === "" ? null : Number(value);
          },
        ),
        choice(
          "reviewed",
          ["all", "yes", "no", "changed"].map((each) => [each, text(`reviewed.${each}`)]),
          skyeye.filter.reviewed,
          (value) => {
            skyeye.filter.reviewed = value;
          },
        ),
        scene.not_in_footprints === null || scene.not_in_footprints === undefined ? null : layers(),
        element("button", { type: "button", id: "filter-reset", click: reset }, text("show_all")),
      ]),
      group("display", [
        choice(
          "style",
          [
            ["fill", text("fill")],
            ["outline", text("outline")],
          ],
          skyeye.look.outline ? "outline" : "fill",
          (value) => {
            skyeye.look.outline = value === "outline";
          },
        ),
        opacityRange(),
        box("show-buildings", text("show_buildings"), areMarksShown, (isOn) => skyeye.toggleMarks(isOn)),
        box("show-signs", text("show_signs"), skyeye.look.signs, (isOn) => {
          skyeye.look.signs = isOn;
          skyeye.redraw();
        }),
        scene.areas && scene.areas.length
          ? box("show-areas", text("show_areas"), skyeye.areAreasShown, skyeye.showAreas)
          : null,
      ]),
    );
    skyeye.writeGradeCounts();
  };

  // How many buildings of each grade there are, which reviews change.
  skyeye.writeGradeCounts = function () {
    const { number, scene } = skyeye;
    const count = `${number(scene.assessed)} / ${number(scene.buildings)}`;
    skyeye.byId("assessed-of").textContent = skyeye.text("assessed_of", { count });
    const missing = scene.buildings - scene.assessed;
    for (const damage of [-1, 0, 1, 2, 3])
      skyeye.byId(`count-${damage}`).textContent = number(scene.counts[damage]?.labelled ?? missing);
  };

  skyeye.toggleMarks = function (isOn) {
    areMarksShown = isOn ?? !areMarksShown;
    skyeye.showMarks(areMarksShown);
    const shown = skyeye.byId("show-buildings");
    if (shown) shown.checked = areMarksShown;
  };

  // How many of the buildings in view the filter lets through.
  skyeye.writeShown = function () {
    const place = skyeye.byId("shown");
    if (!place) return;
    if (skyeye.level() < skyeye.closeZoom) {
      const older = skyeye.isServed() ? skyeye.text("counted_at_start") : "";
      place.textContent = `${skyeye.text("cells_shown")} ${older}`.trim();
      return;
    }
    const [shown, all] = skyeye.countShown(skyeye.viewBox());
    place.textContent = skyeye.text("shown_of", { shown, all });
  };

  function changed() {
    skyeye.redraw();
    skyeye.writeShown();
  }

  function reset() {
    Object.assign(skyeye.filter, {
      of: "own",
      least: 0,
      most: 1000,
      status: null,
      reviewed: "all",
      layer: null,
    });
    skyeye.filter.damages = new Set([-1, 0, 1, 2, 3]);
    skyeye.writeLayers();
    changed();
    skyeye.byId("filter-reset").focus();
  }

  function grades() {
    return [3, 2, 1, 0, -1].map((damage) => {
      const input = skyeye.element("input", {
        type: "checkbox",
        id: `grade-${damage}`,
        checked: skyeye.filter.damages.has(damage),
        change: () => {
          skyeye.filter.damages[input.checked ? "add" : "delete"](damage);
          changed();
        },
      });
      return skyeye.element(
        "label",
        { class: "grade" },
        input,
        skyeye.swatch(skyeye.colorOf(damage), damage < 0 ? "hatched" : ""),
        skyeye.element("span", { class: "name" }, skyeye.gradeText(damage)),
        skyeye.element("span", { class: "count", id: `count-${damage}` }),
      );
    });
  }

  function probability() {
    const { element, text } = skyeye;
    const options = [
      ["own", text("of_its_grade")],
      ["severe", text("of_severe")],
    ];
    skyeye.scene.grades.forEach((_, damage) =>
      options.push([String(damage), `${damage + 1} · ${skyeye.gradeName(damage)}`]),
    );
    return element(
      "div",
      {},
      choice("probability_of", options, skyeye.filter.of, (value) => {
        skyeye.filter.of = value;
      }),
      element("div", { class: "two" }, range("least"), range("most")),
    );
  }

  function range(end) {
    const value = skyeye.element("output", { for: `p-${end}` }, skyeye.percent(skyeye.filter[end] / 1000));
    const input = skyeye.element("input", {
      type: "range",
      id: `p-${end}`,
      min: 0,
      max: 1000,
      step: 10,
      value: skyeye.filter[end],
      input: () => {
        skyeye.filter[end] = Number(input.value);
        value.textContent = skyeye.percent(skyeye.filter[end] / 1000);
        changed();
      },
    });
    return skyeye.element("label", {}, skyeye.text(end), " ", value, input);
  }

  function layers() {
    const { text } = skyeye;
    const options = [
      ["", text("all")],
      ["0", text("buildings")],
      ["1", text("not_in_footprints")],
    ];
    return choice("layer", options, skyeye.filter.layer ?? "", (value) => {
      skyeye.filter.layer = value === "" ? null : Number(value);
    });
  }

  function opacityRange() {
    const value = skyeye.element("output", { for: "opacity" }, `${opacity} %`);
    const input = skyeye.element("input", {
      type: "range",
      id: "opacity",
      min: 10,
      max: 100,
      step: 5,
      value: opacity,
      input: () => {
        opacity = Number(input.value);
        value.textContent = `${opacity} %`;
        skyeye.setOpacity(opacity / 100);
      },
    });
    return skyeye.element(
      "label",
      { class: "row" },
      skyeye.element("span", {}, skyeye.text("opacity"), " ", value),
      input,
    );
  }

  function choice(name, options, chosen, use) {
    const select = skyeye.element(
      "select",
      {
        id: `choose-${name}`,
        change: () => {
          use(select.value);
          changed();
        },
      },
      options.map(([value, label]) =>
        skyeye.element("option", { value, selected: String(value) === String(chosen) }, label),
      ),
    );
    return skyeye.element("label", { class: "row" }, skyeye.text(name), select);
  }

  function box(id, label, isOn, use) {
    const input = skyeye.element("input", {
      type: "checkbox",
      id,
      checked: Boolean(isOn),
      change: () => use(input.checked),
    });
    return skyeye.element("label", { class: "check" }, input, label);
  }

  function group(name, content) {
    return skyeye.element(
      "fieldset",
      { class: name },
      skyeye.element("legend", {}, skyeye.text(name)),
      content,
    );
  }
})((window.skyeye = window.skyeye || {}));
