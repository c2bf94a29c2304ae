// The record of the selected building, with what the images show of it before and after.
(function (skyeye) {
  "use strict";

  const CROP = 176; // CSS px of a crop's side
  const LEAST = 48; // px, so that small buildings keep their neighbours
  const AROUND = 2.2;

  skyeye.gradeText = function (damage) {
    if (damage === skyeye.NOT_A_BUILDING) return skyeye.text("not_a_building");
    if (damage === skyeye.CANNOT_TELL) return skyeye.text("cannot_tell");
    return damage >= 0 ? `${damage + 1} · ${skyeye.gradeName(damage)}` : skyeye.text("not_assessed");
  };

  skyeye.gradeChip = (damage) =>
    skyeye.element(
      "span",
      { class: "chip" },
      skyeye.swatch(skyeye.colorOf(damage), damage < 0 ? "hatched" : ""),
      skyeye.gradeText(damage),
    );

  // The parts of the pane, which stay so that the keyboard's focus does.
  skyeye.writeBuildingPane = function () {
    const { element, text } = skyeye;
    skyeye
      .byId("pane-building")
      .replaceChildren(
        element(
          "div",
          { class: "steps" },
          element(
            "button",
            { type: "button", id: "previous", click: () => skyeye.step(-1) },
            `← ${text("previous")}`,
          ),
          element("span", { id: "order-place" }),
          element("button", { type: "button", id: "next", click: () => skyeye.step(1) }, `${text("next")} →`),
        ),
        element("div", { id: "record" }),
        skyeye.isServed() ? skyeye.reviewControls() : "",
        element("dl", { id: "columns", class: "record" }),
        skyeye.isServed() ? "" : skyeye.reviewControls(),
      );
    skyeye.writeRecord();
    skyeye.writeOrder();
  };

  skyeye.writeRecord = function () {
    const { element, selected, text } = skyeye;
    const shown = selected ? picturesOf(selected) : [element("p", { class: "quiet" }, text("select_hint"))];
    const columns = selected ? columnsOf(selected) : [];
    skyeye.byId("record").replaceChildren(...shown);
    skyeye
      .byId("columns")
      .replaceChildren(
        ...columns.flatMap(([name, value]) => [element("dt", {}, text(name)), element("dd", {}, value)]),
      );
    skyeye.writeReviewState();
  };

  skyeye.writeOrder = function () {
    const place = skyeye.byId("order-place");
    const { at, of } = skyeye.orderPlace();
    const name = skyeye.text(`order.${skyeye.orderName()}`);
    if (place) place.textContent = at > 0 ? `${name} · ${skyeye.number(at)} / ${skyeye.number(of)}` : name;
  };

  function picturesOf({ chunk, index }) {
    const { element } = skyeye;
    const isAssessed = chunk.damage[index] >= 0;
    return [
      element(
        "h2",
        { class: "record-title" },
        skyeye.gradeChip(chunk.damage[index]),
        element("code", { id: "record-id" }, chunk.ids[index]),
      ),
      element("div", { class: "crops" }, crop(chunk, index, "pre"), crop(chunk, index, "post")),
      isAssessed
        ? probabilityBars(skyeye.probabilities(chunk, index))
        : element("p", { class: "notice" }, skyeye.text("not_assessed_means")),
    ];
  }

  // [[key of the text, value], ...]
  function columnsOf({ chunk, index }) {
    const { number, text } = skyeye;
    const review = skyeye.reviewOf(chunk, index);
    const shift = chunk.shift[index];
    const score = chunk.score[index];
    const columns = [
      ["status", skyeye.word(skyeye.scene.status_texts[chunk.status[index]] ?? "–")],
      ["layer", text(chunk.layer[index] ? "not_in_footprints" : "buildings")],
      ["score", score < 0 ? "–" : skyeye.percent(score / 1000, 1)],
      ["seen", `${number(chunk.valid[index])} %`],
      ["area", `${number(chunk.area[index], 1)} m²`],
      ["shift_here", Number.isNaN(shift) ? "–" : `${number(shift, 2)} m`],
      ["lat_lon", `${chunk.lat[index].toFixed(6)}, ${chunk.lon[index].toFixed(6)}`],
    ];
    const raw = skyeye.rawProbabilities(chunk, index);
    if (raw) {
      const shares = raw.map((share, damage) => `${damage + 1}: ${skyeye.percent(share, 1)}`);
      columns.push(["raw_probability", shares.join(" · ")]);
    }
    if (!review) return columns;
    columns.push(
      ["reviewed_as", skyeye.gradeText(skyeye.shownDamage(chunk, index))],
      ["reviewed_by", review.by || "–"],
    );
    return review.note ? [...columns, ["note", review.note]] : columns;
  }

  function probabilityBars(p) {
    const { element } = skyeye;
    const rows = p.map((share, damage) => {
      const bar = element("span", { class: "bar" });
      bar.style.width = `${share * 100}%`;
      bar.style.setProperty("--color", skyeye.colorOf(damage));
      const name = element("th", { scope: "row" }, `${damage + 1} · ${skyeye.gradeName(damage)}`);
      return element(
        "tr",
        {},
        name,
        element("td", { class: "track" }, bar),
        element("td", {}, skyeye.percent(share, 1)),
      );
    });
    return element(
      "table",
      { class: "bars" },
      element("caption", {}, skyeye.text("probability")),
      element("tbody", {}, rows),
    );
  }

  function crop(chunk, index, side) {
    const { element, text } = skyeye;
    const name = text(side === "pre" ? "before" : "after");
    const ratio = Math.min(window.devicePixelRatio || 1, 2);
    const canvas = element("canvas", {
      width: CROP * ratio,
      height: CROP * ratio,
      role: "img",
      "aria-label": text("crop_of", { side: name }),
    });
    const [x0, y0, x1, y1] = skyeye.boxOfBuilding(chunk, index);
    const half = Math.max(LEAST, Math.max(x1 - x0, y1 - y0) * AROUND) / 2;
    const box = [(x0 + x1) / 2 - half, (y0 + y1) / 2 - half, (x0 + x1) / 2 + half, (y0 + y1) / 2 + half];
    const scale = canvas.width / (2 * half);
    const context = canvas.getContext("2d");
    skyeye.drawImages(context, side, box, scale).then(() => {
      const path = new Path2D();
      for (const ring of skyeye.ringsOf(chunk, index)) {
        path.moveTo((ring[0] - box[0]) * scale, (ring[1] - box[1]) * scale);
        for (let k = 2; k < ring.length; k += 2)
          path.lineTo((ring[k] - box[0]) * scale, (ring[k + 1] - box[1]) * scale);
        path.closePath();
      }
      for (const [color, width] of [
        ["rgba(8, 14, 22, 0.6)", 3],
        ["#ffffff", 1.25],
      ]) {
        context.strokeStyle = color;
        context.lineWidth = width * ratio;
        context.stroke(path);
      }
    });
    const date = side === "pre" ? skyeye.scene.pre_date : skyeye.scene.post_date;
    return element("figure", {}, canvas, element("figcaption", {}, name + (date ? ` · ${date}` : "")));
  }
})((window.skyeye = window.skyeye || {}));
