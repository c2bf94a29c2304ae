// Single keys, where one does not write text.
(function (skyeye) {
  "use strict";

  let areSingleKeysOn = true; // speech input may press them by mistake
  const VIEW_KEYS = { s: "swipe", e: "side", k: "blink" };

  skyeye.startKeys = function () {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isWriting(event.target)) return;
      if (skyeye.byId("help").open || skyeye.drawingKey(event)) return;
      const isOnMap = event.target === skyeye.byId("map");
      const act =
        event.key === "Enter" && isOnMap ? () => skyeye.pick(skyeye.map.getCenter()) : actionOf(event.key);
      if (!areSingleKeysOn && event.key !== "Enter") return;
      if (!act) return;
      event.preventDefault();
      act();
    });
    skyeye.byId("help-open").addEventListener("click", () => skyeye.byId("help").showModal());
  };

  skyeye.writeHelp = function () {
    const { element, text } = skyeye;
    const keys = ["1 2 3 4", "0", "?", "n p", "u", "d", "b", "s e k", "/", "← ↑ → ↓ + −", "h", "Enter"];
    const rows = keys.map((key, k) => [
      element(
        "dt",
        {},
        key.split(" ").map((each) => element("kbd", {}, each)),
      ),
      element("dd", {}, text(`key.${k}`)),
    ]);
    const help = skyeye.byId("help");
    const singleKeys = element("input", {
      type: "checkbox",
      id: "single-keys",
      checked: areSingleKeysOn,
      change: () => (areSingleKeysOn = singleKeys.checked),
    });
    help.replaceChildren(
      element("h2", { id: "help-title" }, text("help")),
      element("p", {}, text("help_map")),
      element("dl", { class: "record keys" }, rows),
      element("label", { class: "check" }, singleKeys, text("single_keys")),
      element("p", { class: "quiet" }, text("built_with")),
      element("button", { type: "button", click: () => help.close() }, text("close")),
    );
  };

  function actionOf(key) {
    if ("1234".includes(key)) return () => skyeye.saveReview("grade", Number(key) - 1);
    if (key in VIEW_KEYS) return () => skyeye.showView(VIEW_KEYS[key]);
    return {
      0: () => skyeye.saveReview("not_a_building"),
      "?": () => skyeye.saveReview("cannot_tell"),
      n: () => skyeye.step(1),
      p: () => skyeye.step(-1),
      u: () => skyeye.undo(),
      d: () => skyeye.toggleDrawing(),
      b: () => skyeye.toggleMarks(),
      h: () => skyeye.byId("help").showModal(),
      "/": () => skyeye.byId("search-id").focus(),
    }[key];
  }

  function isWriting(target) {
    return (
      target instanceof Element &&
      target.matches("textarea, select, input:not([type=checkbox]):not([type=range])")
    );
  }
})((window.skyeye = window.skyeye || {}));
