// A list of buildings to go through: the sample to check, or those that are suggested for a label.
(function (skyeye) {
  "use strict";

  // `name` is "sample" or "suggested"; buildings: [{id, chunk, answered}, ...].
  skyeye.checkList = function (name, buildings) {
    const { element, text } = skyeye;
    const done = buildings.filter(({ answered }) => answered).length;
    const places = buildings.map(({ id, chunk: key }) => [key, id]);
    const go = (k) => {
      skyeye.setOrder(name, places, k);
      skyeye.step(0);
    };
    const next = () => {
      const open = buildings.findIndex(({ answered }) => !answered);
      if (open < 0) skyeye.announce(text(`${name}_done`));
      else go(open);
    };
    const rows = buildings.map(({ id, answered }, k) =>
      element(
        "li",
        {},
        element(
          "button",
          { type: "button", class: "link", id: `${name}-${k}`, click: () => go(k) },
          id,
        ),
        element("span", { class: answered ? "done" : "open" }, text(answered ? "answered" : "open")),
      ),
    );
    return [
      element("p", {}, text("check_progress", { answered: done, of: buildings.length })),
      element("progress", {
        max: Math.max(1, buildings.length),
        value: done,
        "aria-label": text(`order.${name}`),
      }),
      element(
        "div",
        { class: "buttons" },
        element(
          "button",
          { type: "button", id: `${name}-next`, class: "strong", click: next },
          text("check_next"),
        ),
        element(
          "button",
          { type: "button", id: `${name}-leave`, click: leave },
          text("by_uncertainty"),
        ),
      ),
      element("ol", { class: "sample scrolls", tabindex: 0, "aria-label": text(`order.${name}`) }, rows),
    ];
  };

  function leave() {
    skyeye.setOrder("uncertain", null);
    skyeye.writeOrder();
    skyeye.announce(skyeye.text("order.uncertain"));
  }
})((window.skyeye = window.skyeye || {}));
