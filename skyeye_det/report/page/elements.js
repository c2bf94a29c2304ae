// Elements of the page. What a file says becomes text, never markup.
(function (skyeye) {
  "use strict";

  const SVG = "http://www.w3.org/2000/svg";

  // Makes an element; attributes that are functions are listeners, null and false leave one out.
  skyeye.element = function (name, attributes, ...content) {
    return filled(document.createElement(name), attributes, content);
  };

  skyeye.drawing = function (name, attributes, ...content) {
    return filled(document.createElementNS(SVG, name), attributes, content);
  };

  skyeye.byId = (id) => document.getElementById(id);

  // A table cell's colour square; the grade's name always stands beside it.
  skyeye.swatch = function (color, kind) {
    const style = { class: `swatch ${kind || ""}`, "aria-hidden": "true" };
    const made = skyeye.element("span", style);
    made.style.setProperty("--color", color);
    return made;
  };

  // Says it where everyone notices, also with a screen reader, for five seconds.
  skyeye.announce = function (text) {
    const place = skyeye.byId("message");
    place.textContent = text;
    clearTimeout(place.timer);
    place.timer = setTimeout(() => place.replaceChildren(), 5000);
  };

  // For screen readers: what others see anyway.
  skyeye.whisper = (text) => (skyeye.byId("whisper").textContent = text);

  // Something is wrong: it stays until it is closed.
  skyeye.warn = function (text) {
    const place = skyeye.byId("alert");
    const close = { type: "button", click: () => place.replaceChildren() };
    place.replaceChildren(
      skyeye.element("span", {}, text),
      skyeye.element("button", close, skyeye.text("close")),
    );
  };

  // It is mended.
  skyeye.unwarn = function (text) {
    const place = skyeye.byId("alert");
    if (place.firstChild?.textContent === text) place.replaceChildren();
  };

  function filled(made, attributes, content) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (typeof value === "function") made.addEventListener(name, value);
      else if (value === true) made.setAttribute(name, "");
      else if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
    }
    made.append(...content.flat(Infinity).filter((each) => each !== null && each !== undefined));
    return made;
  }
})((window.skyeye = window.skyeye || {}));
