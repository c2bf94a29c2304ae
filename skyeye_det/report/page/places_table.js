// Areas and cells as tables that sort by any column; a click on a name flies there.
(function (skyeye) {
  "use strict";

  const FIRST = 50; // rows, until all are asked for
  const sorted = { area: { column: "severe", by: -1 }, cell: { column: "severe", by: -1 } };
  const isWhole = { area: false, cell: false };

  // `kind` is "area" or "cell".
  skyeye.placesTable = function (places, kind) {
    const frame = skyeye.element("div", {
      class: "scrolls",
      tabindex: 0,
      role: "region",
      "aria-label": skyeye.text(`${kind}s`),
    });
    fill(frame, places, kind);
    return frame;
  };

  // Expected to be major or destroyed, with the interval's ends added up: at least as wide as the sum's.
  skyeye.severe = function ({ expected, low, high }) {
    return { expected: expected[2] + expected[3], low: low[2] + low[3], high: high[2] + high[3] };
  };

  function fill(frame, places, kind) {
    const { element, text } = skyeye;
    if (!places.length) {
      frame.replaceChildren(element("p", {}, text("no_buildings")));
      return;
    }
    const { column, by } = sorted[kind];
    const collator = skyeye.collator();
    const order = [...places].sort((a, b) => {
      const [x, y] = [valueOf(a, column), valueOf(b, column)];
      return by * (typeof x === "string" ? collator.compare(x, y) : x - y);
    });
    const rows = (isWhole[kind] ? order : order.slice(0, FIRST)).map((place) => row(place));
    const columns = ["name", "buildings", "severe", "0", "1", "2", "3", "unseen"];
    const head = columns.map((name) => header(name, kind, () => fill(frame, places, kind)));
    const table = element(
      "table",
      { class: "places" },
      element("thead", {}, element("tr", {}, head)),
      element("tbody", {}, rows),
    );
    const more = element(
      "button",
      {
        type: "button",
        click: () => {
          isWhole[kind] = true;
          fill(frame, places, kind);
        },
      },
      text("show_rows", { count: places.length }),
    );
    frame.replaceChildren(table, ...(rows.length < places.length ? [more] : []));
  }

  function header(name, kind, again) {
    const { element, text } = skyeye;
    const label = {
      name: text(`name_of.${kind}`),
      buildings: text("buildings"),
      severe: text("severe"),
    }[name];
    const isSorted = sorted[kind].column === name;
    const damage = name === "unseen" ? -1 : Number(name);
    const arrow = isSorted ? (sorted[kind].by > 0 ? "\u00a0▲" : "\u00a0▼") : "";
    const button = element(
      "button",
      {
        type: "button",
        "data-column": name,
        title: label ?? skyeye.gradeName(damage),
        "aria-label": label ?? skyeye.gradeName(damage),
        click: ({ currentTarget }) => {
          const frame = currentTarget.closest(".scrolls");
          sorted[kind] = { column: name, by: isSorted ? -sorted[kind].by : name === "name" ? 1 : -1 };
          again();
          frame.querySelector(`[data-column="${name}"]`).focus();
        },
      },
      label ?? [skyeye.swatch(skyeye.colorOf(damage), damage < 0 ? "hatched" : ""), skyeye.signOf(damage)],
      arrow,
    );
    const direction = isSorted ? (sorted[kind].by > 0 ? "ascending" : "descending") : "none";
    return element("th", { scope: "col", "aria-sort": direction }, button);
  }

  function row(place) {
    const { element, number } = skyeye;
    const { expected, low, high } = skyeye.severe(place);
    const go = element(
      "button",
      { type: "button", class: "link", click: () => skyeye.goTo(place.box) },
      place.name,
    );
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, go),
      element("td", {}, number(place.buildings)),
      element("td", {}, number(expected), element("small", {}, ` ${number(low)}–${number(high)}`)),
      place.labelled.map((count) => element("td", {}, number(count))),
      element("td", {}, number(place.buildings - place.assessed)),
    );
  }

  function valueOf(place, column) {
    if (column === "name") return place.name;
    if (column === "buildings") return place.buildings;
    if (column === "severe") return skyeye.severe(place).expected;
    if (column === "unseen") return place.buildings - place.assessed;
    return place.labelled[Number(column)];
  }
})((window.skyeye = window.skyeye || {}));
