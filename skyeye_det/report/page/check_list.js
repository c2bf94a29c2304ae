// A list of buildings to go through: the sample to check, or those that are suggested for a label.
(function (skyeye) {
  "use strict";

  // `name` is "sample" or "suggested"; buildings: [{id, chunk, answered}, ...].
  skyeye.checkList = function (name, buildings) {
    const { element, text, number } = skyeye;
    const answered = buildings.filter((each) => each.answered).length;
    const places = buildings.map(({ id, chunk: key }) => [key, id]);
    const start = () => {
      const open = buildings.findIndex((each) => !each.answered);
      if (open < 0) return skyeye.announce(text(`${name}_done`));
      skyeye.setOrder(name, places, open);
      return skyeye.step(0);
    };
    const rows = buildings.map(({ id, answered: isAnswered }, k) =>
      element(
        "li",
        {},
        element(
          "button",
          {
            type: "button",
            class: "link",
            id: `${name}-${k}`,
            click: () => {
              skyeye.setOrder(name, places, k);
              skyeye.step(0);
            },
          },
          id,
        ),
        element("span", { class: isAnswered ? "done" : "open" }, text(isAnswered ? "answered" : "open")),
      ),
    );
    return [
      element("p", {}, text("sample_progress", { answered: number(answered), of: number(buildings.length) })),
      element("progress", {
        max: Math.max(1, buildings.length),
        value: answered,
        "aria-label": text(`order.${name}`),
      }),
      element(
        "div",
        { class: "buttons" },
        element(
          "button",
          { type: "button", id: `${name}-next`, class: "strong", click: start },
          text("check_next"),
        ),
        element(
          "button",
          { type: "button", id: `${name}-leave`, click: () => leave() },
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
