// Grades adapted to the reviews and back, and which buildings to review next.
(function (skyeye) {
  "use strict";

  const AT_ONCE = 20; // buildings that are suggested
  const CHANGED = ["prior", "features", "elsewhere"];
  let suggested = null;
  let isBusy = false;

  // Whether other grades than the model's own are shown.
  skyeye.isAdapted = () => CHANGED.includes(skyeye.scene.adapted?.kind);

  // By how many reviews grades are adapted, and whether it helps; empty where nobody has asked.
  skyeye.adaptedText = function () {
    const { text, percent } = skyeye;
    const { kind, labels, sampled, least, loss, gain, low, high, event } = skyeye.scene.adapted || {};
    const counted = { labels, sampled, least, event };
    if (kind === "elsewhere") return text("adapted_elsewhere", counted);
    if (kind === "none")
      return [
        text("adapted_none", counted),
        text(sampled < least ? "adapted_few" : "adapted_no_better", counted),
      ].join(" ");
    if (!skyeye.isAdapted()) return "";
    const shares = { gain: percent(gain / loss), low: percent(low / loss), high: percent(high / loss) };
    const sentences = [text("adapted_by", counted), text("adapted_gain", shares)];
    if (low <= 0) sentences.push(text("adapted_may_not"));
    return sentences.join(" ");
  };

  skyeye.adaptedNotice = function () {
    const told = skyeye.adaptedText();
    return told ? [skyeye.element("p", { class: "notice adapted" }, told)] : [];
  };

  // Both parts of the pane of checks.
  skyeye.adaptingParts = function () {
    const { element, text } = skyeye;
    return [
      element("h2", {}, text("order.suggested")),
      element("p", { class: "quiet" }, text("suggest_means")),
      element(
        "div",
        { class: "buttons" },
        button("suggest", text("suggest", { count: AT_ONCE }), suggest),
      ),
      ...(suggested ? skyeye.checkList("suggested", suggested.buildings) : []),
      element("h2", {}, text("adapt")),
      element("p", { class: "quiet" }, text("adapt_means")),
      element(
        "div",
        { class: "buttons" },
        button("adapt", text("adapt_grades"), () => adapt(false), "strong"),
        skyeye.isAdapted() ? button("adapt-undo", text("adapt_undo"), () => adapt(true)) : null,
      ),
      ...skyeye.adaptedNotice(),
    ];
  };

  // Asks the server which buildings are suggested.
  skyeye.askSuggested = async function () {
    const { status, body } = await skyeye.ask("/api/suggested");
    suggested = status === 200 ? body : null;
  };

  async function suggest() {
    const answer = await asked("/api/suggested", { count: AT_ONCE });
    if (!answer) return;
    if (!answer.size) skyeye.announce(skyeye.text("suggest_none"));
    await skyeye.askSuggested();
    skyeye.writeCheck();
    if (answer.size) skyeye.byId("suggested-next")?.click();
  }

  async function adapt(undo) {
    skyeye.announce(skyeye.text("adapt_busy"));
    const answer = await asked("/api/adapt", { undo });
    if (!answer) return;
    await skyeye.renewData();
    if (undo && document.activeElement === document.body) skyeye.byId("adapt")?.focus();
    if (answer.kind === "none") skyeye.announce(skyeye.adaptedText());
    else skyeye.announce(skyeye.text(undo ? "adapt_undone" : "adapt_done"));
  }

  // The answer, or null where there is none; the buttons rest meanwhile.
  async function asked(path, body) {
    if (isBusy) return null;
    isBusy = true;
    skyeye.writeCheck();
    const { status, body: answer } = await skyeye.ask(path, body);
    isBusy = false;
    skyeye.writeCheck();
    if (status === 200) return answer;
    skyeye.warn(skyeye.refusal(status, answer, "not_done"));
    return null;
  }

  function button(id, label, click, look) {
    // Not `disabled`, which would lose the keyboard's place.
    const attributes = { type: "button", id, class: look, "aria-disabled": isBusy && "true" };
    return skyeye.element("button", { ...attributes, click: () => click() }, label);
  }
})((window.skyeye = window.skyeye || {}));
