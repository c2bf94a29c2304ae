// The panel beside the map: four panes behind tabs.
(function (skyeye) {
  "use strict";

  const PANES = ["layers", "building", "figures", "check"];
  let shown = "layers";

  skyeye.startPanel = function () {
    const tabs = PANES.map((name) =>
      skyeye.element("button", {
        type: "button",
        role: "tab",
        id: `tab-${name}`,
        "aria-controls": `pane-${name}`,
        "data-text": `tab.${name}`,
        click: () => skyeye.showPane(name),
        keydown: moveFocus,
      }),
    );
    skyeye.byId("tabs").replaceChildren(...tabs);
    skyeye.showPane(shown);
  };

  skyeye.showPane = function (name) {
    shown = name;
    for (const each of PANES) {
      const tab = skyeye.byId(`tab-${each}`);
      tab.setAttribute("aria-selected", String(each === name));
      tab.tabIndex = each === name ? 0 : -1;
      skyeye.byId(`pane-${each}`).hidden = each !== name;
    }
  };

  function moveFocus(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const to = PANES[(PANES.indexOf(shown) + step + PANES.length) % PANES.length];
    skyeye.showPane(to);
    skyeye.byId(`tab-${to}`).focus();
    event.preventDefault();
  }
})((window.skyeye = window.skyeye || {}));
