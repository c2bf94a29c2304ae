// How far the image after lay off the one before: the estimate, and an arrow for each window.
(function (skyeye) {
  "use strict";

  skyeye.shiftMap = function () {
    const { element, text, number, scene } = skyeye;
    const { shift } = scene;
    if (!shift) return [element("p", {}, text("no_shift"))];
    const values = { dx: number(shift.dx, 2), dy: number(shift.dy, 2), metres: number(shift.metres, 2) };
    const lines = [element("p", {}, text(shift.applied ? "shift_applied" : "shift_not_applied", values))];
    if (!shift.windows.length) return lines;
    lines.push(
      element("p", {}, text("shift_windows", { agreeing: share(shift), windows: shift.windows.length })),
      picture(shift.windows),
      element("p", { class: "quiet" }, text("shift_arrows")),
    );
    return lines;
  };

  // `agreeing` is a share where it is at most 1, else a number of windows.
  function share({ agreeing }) {
    return agreeing <= 1 ? skyeye.percent(agreeing) : skyeye.number(agreeing);
  }

  function picture(windows) {
    const { drawing, scene } = skyeye;
    const { width, height } = scene;
    const longest = Math.max(1e-6, ...windows.map(({ dx, dy }) => Math.hypot(dx, dy)));
    const room = 0.9 * Math.sqrt((width * height) / windows.length); // px
    const stretch = room / longest;
    const thick = Math.max(width, height) / 250;
    const arrows = windows.map(({ x, y, dx, dy }) => {
      const [u, v] = [dx * stretch, dy * stretch];
      const start = [x - u / 2, y - v / 2];
      const head = `m${-u * 0.2 - v * 0.1} ${-v * 0.2 + u * 0.1}L${start[0] + u} ${start[1] + v}l${-u * 0.2 + v * 0.1} ${-v * 0.2 - u * 0.1}`;
      return drawing("path", { d: `M${start}l${u} ${v}${head}`, "stroke-width": thick });
    });
    const frame = drawing("rect", { x: 0, y: 0, width, height, "stroke-width": thick / 2, class: "frame" });
    return drawing(
      "svg",
      { class: "shift", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": skyeye.text("shift") },
      frame,
      arrows,
    );
  }
})((window.skyeye = window.skyeye || {}));
