// The sample to check, how far it is, and what its answers say beside the model.
(function (skyeye) {
  "use strict";

  let sample = null;
  let estimate = null;
  let isAsked = false;
  let isStale = false;

  // Asks the server again, at most once at a time, and once more where something was saved meanwhile.
  skyeye.refreshCheck = async function () {
    isStale = true;
    if (!skyeye.isServed() || isAsked) return;
    isAsked = true;
    while (isStale) {
      isStale = false;
      const [first, second] = await Promise.all([
        skyeye.ask("/api/sample"),
        skyeye.ask("/api/estimate"),
        skyeye.askSuggested(),
      ]);
      sample = first.status === 200 ? first.body : null;
      estimate = second.status === 200 ? second.body : null;
    }
    isAsked = false;
    skyeye.writeCheck();
  };

  skyeye.writeCheck = function () {
    const { element, text } = skyeye;
    const pane = skyeye.byId("pane-check");
    const focused = pane.contains(document.activeElement) ? document.activeElement.id : "";
    const content = [element("h2", {}, text("order.sample"))];
    if (!skyeye.isServed()) content.push(element("p", { class: "notice" }, skyeye.textNodes("review_off")));
    else if (!sample) content.push(element("p", {}, skyeye.textNodes("no_sample")));
    else content.push(
        ...skyeye.checkList("sample", sample.buildings),
        element("h2", {}, text("estimate")),
        ...estimated(),
      );
    if (skyeye.isServed()) content.push(...skyeye.adaptingParts());
    pane.replaceChildren(...content);
    if (focused) skyeye.byId(focused)?.focus();
  };

  function estimated() {
    const { element, text, number } = skyeye;
    if (!estimate) return [element("p", {}, text("no_estimate"))];
    const progress = element("p", { class: "quiet" }, text("answers_needed", estimate));
    if (!estimate.counts) return [progress, element("p", {}, text("estimate.too_few", estimate))];
    const head = ["grade", "labelled", "estimated", "interval"].map((key) =>
      element("th", { scope: "col" }, text(key)),
    );
    const cells = ({ labelled, estimated: count, low, high }) => [
      element("td", {}, number(labelled)),
      element("td", {}, element("strong", {}, number(count))),
      element("td", {}, `${number(low)} – ${number(high)}`),
    ];
    const rows = estimate.counts.map((each, damage) =>
      element("tr", {}, element("th", { scope: "row" }, skyeye.gradeChip(damage)), cells(each)),
    );
    rows.push(
      element("tr", {}, element("th", { scope: "row" }, text("buildings")), cells(estimate.buildings)),
    );
    const { accuracy, accuracy_low: low, accuracy_high: high } = estimate;
    const values = {
      share: skyeye.percent(accuracy, 1),
      low: skyeye.percent(low, 1),
      high: skyeye.percent(high, 1),
    };
    return [
      progress,
      element(
        "table",
        { class: "figures" },
        element("thead", {}, element("tr", {}, head)),
        element("tbody", {}, rows),
      ),
      element("p", {}, text("accuracy_here", values)),
      element("p", { class: "quiet" }, method()),
    ];
  }

  // How the estimate is made, and of what.
  function method() {
    const { text } = skyeye;
    const { is_assisted: isAssisted, counted, buildings } = estimate;
    const values = { counted, assessed: buildings.labelled };
    const sentences = [text(isAssisted ? "estimate.assisted" : "estimate.stratified", values)];
    for (const name of ["unsure", "waiting", "merged"])
      if (estimate[name]) sentences.push(text(`estimate.${name}`, { count: estimate[name] }));
    return sentences.join(" ");
  }
})((window.skyeye = window.skyeye || {}));
