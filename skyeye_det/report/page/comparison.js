// Before and after: a swipe handle, side by side, blinking, or one of them.
(function (skyeye) {
  "use strict";

  const VIEWS = ["swipe", "side", "blink", "before", "after"];
  const BLINK = 800; // ms; slow enough to be safe for everyone
  const STEP = 0.02;
  let view = "swipe";
  let share = 0.5; // of the map's width, where the handle stands
  let timer = 0;
  let isAfter = true;

  skyeye.isSideBySide = () => view === "side";

  skyeye.startComparison = function () {
    const buttons = VIEWS.map((name) =>
      skyeye.element("button", {
        type: "button",
        id: `view-${name}`,
        "data-text": `view.${name}`,
        "aria-pressed": String(name === view),
        click: () => skyeye.showView(name),
      }),
    );
    skyeye.byId("views").replaceChildren(...buttons);
    const handle = skyeye.byId("swipe");
    handle.addEventListener("pointerdown", (event) => {
      handle.setPointerCapture(event.pointerId);
      event.preventDefault();
      handle.focus();
    });
    handle.addEventListener("pointermove", (event) => {
      if (!handle.hasPointerCapture(event.pointerId)) return;
      const stage = skyeye.byId("stage").getBoundingClientRect();
      moveTo((event.clientX - stage.left) / stage.width);
    });
    handle.addEventListener("keydown", (event) => {
      const steps = {
        ArrowLeft: -STEP,
        ArrowDown: -STEP,
        ArrowRight: STEP,
        ArrowUp: STEP,
        PageUp: 0.1,
        PageDown: -0.1,
      };
      const to = { Home: 0, End: 1 }[event.key] ?? (event.key in steps ? share + steps[event.key] : null);
      if (to === null) return;
      event.preventDefault();
      moveTo(to);
    });
    skyeye.map.on("move zoom resize viewreset", clip);
    skyeye.showView("swipe");
  };

  skyeye.showView = function (name) {
    view = name;
    const stage = skyeye.byId("stage");
    stage.className = name;
    for (const each of VIEWS) skyeye.byId(`view-${each}`).setAttribute("aria-pressed", String(each === name));
    clearInterval(timer);
    if (name === "blink") timer = setInterval(() => showAfter(!isAfter), BLINK);
    showAfter(name !== "before");
    if (name === "side") skyeye.secondMap();
    skyeye.refreshMaps();
    clip();
  };

  skyeye.writeSides = function () {
    const dated = (side, date) => skyeye.text(side) + (date ? ` · ${date}` : "");
    skyeye.byId("name-before").textContent = dated("before", skyeye.scene.pre_date);
    skyeye.byId("name-after").textContent = dated("after", skyeye.scene.post_date);
    moveTo(share);
  };

  function showAfter(isShown) {
    isAfter = isShown;
    skyeye.map.getPane("post").style.visibility = isShown ? "" : "hidden";
    skyeye.byId("name-after").classList.toggle("unseen", !isShown);
    // The image before does not show through where there is none after.
    const showsBefore = view === "swipe" || !isShown;
    skyeye.map.getPane("pre").style.visibility = showsBefore ? "" : "hidden";
    skyeye.byId("name-before").classList.toggle("unseen", !showsBefore && view !== "side");
  }

  function moveTo(to) {
    share = Math.min(Math.max(to, 0), 1);
    const handle = skyeye.byId("swipe");
    handle.style.left = `${share * 100}%`;
    handle.setAttribute("aria-valuenow", Math.round(share * 100));
    handle.setAttribute("aria-valuetext", skyeye.text("swipe_value", { share: Math.round(share * 100) }));
    clip();
  }

  // The image before shows left of the handle, the image after right of it.
  function clip() {
    clipTo("pre", 0, share);
    clipTo("post", share, 1);
  }

  // Panes move with the map, so their clips move against it.
  function clipTo(side, left, right) {
    const pane = skyeye.map.getPane(side);
    if (view !== "swipe") {
      pane.style.clipPath = "";
      return;
    }
    const { x: width, y: height } = skyeye.map.getSize();
    const from = skyeye.map.containerPointToLayerPoint([left * width, 0]);
    const to = skyeye.map.containerPointToLayerPoint([right * width, height]);
    const corners = [
      [from.x, from.y],
      [to.x, from.y],
      [to.x, to.y],
      [from.x, to.y],
    ];
    pane.style.clipPath = `polygon(${corners.map(([x, y]) => `${x}px ${y}px`).join(",")})`;
  }
})((window.skyeye = window.skyeye || {}));
