// Draws the outline of a missed building: corners by clicks, or at the map's middle by the space bar.
(function (skyeye) {
  "use strict";

  let corners = null; // [[x, y], ...] while one draws
  let isClosed = false;
  let line = null;

  skyeye.isDrawing = () => corners !== null;
  skyeye.hasOutline = () => isClosed;

  skyeye.startDrawingTool = function () {
    skyeye.map.on("click", ({ latlng }) => skyeye.isDrawing() && addCorner(latlng));
  };

  skyeye.toggleDrawing = function () {
    if (corners) {
      stop();
      return;
    }
    if (!skyeye.isServed()) {
      skyeye.announce(skyeye.text("review_off"));
      return;
    }
    corners = [];
    skyeye.clearSelection();
    line = L.polygon([], {
      color: "#ffffff",
      weight: 2.5,
      dashArray: "5 4",
      fillOpacity: 0.15,
      interactive: false,
    }).addTo(skyeye.map);
    skyeye.map.doubleClickZoom.disable();
    skyeye.byId("stage").classList.add("drawing");
    skyeye.byId("map").focus();
    skyeye.announce(skyeye.text("drawing_hint"));
  };

  // True where the key belongs to the drawing.
  skyeye.drawingKey = function (event) {
    if (!corners) return false;
    if (event.key === "Escape") stop();
    else if (event.key === "Enter") close();
    else if (event.key === "Backspace") {
      corners.pop();
      isClosed = false;
      show();
    } else if (event.key === " " && event.target === skyeye.byId("map")) addCorner(skyeye.map.getCenter());
    else return false;
    event.preventDefault();
    return true;
  };

  skyeye.saveDrawn = async function (damage, note, by) {
    const ring = corners.flat().map((value) => Math.round(value * 10) / 10);
    const review = await skyeye.save("/api/buildings", { rings: [ring], damage, note, by });
    if (!review) return;
    stop();
    skyeye.announce(skyeye.text("saved", { id: review.id }));
    const drawn = skyeye.loadedChunk("drawn");
    const index = drawn ? drawn.ids.indexOf(String(review.id)) : -1;
    if (index >= 0) skyeye.select(drawn, index);
  };

  function addCorner(latlng) {
    if (isClosed) return;
    const at = [clamped(latlng.lng, skyeye.scene.width), clamped(latlng.lat, skyeye.scene.height)];
    const last = corners[corners.length - 1];
    const reach = 3 / skyeye.scaleAt(skyeye.map.getZoom());
    if (last && Math.hypot(last[0] - at[0], last[1] - at[1]) < reach) {
      close(); // a double click
      return;
    }
    corners.push(at);
    show();
  }

  function close() {
    if (corners.length < 3) {
      skyeye.announce(skyeye.text("refused.three_corners"));
      return;
    }
    isClosed = true;
    show();
    skyeye.showPane("building");
    skyeye.announce(skyeye.text("grade_the_drawn"));
    skyeye.byId("verdict-3").focus();
  }

  function show() {
    line.setLatLngs(corners.map(([x, y]) => [y, x]));
  }

  function stop() {
    line.remove();
    corners = null;
    isClosed = false;
    skyeye.map.doubleClickZoom.enable();
    skyeye.byId("stage").classList.remove("drawing");
  }

  function clamped(value, most) {
    return Math.min(Math.max(value, 0), most);
  }
})((window.skyeye = window.skyeye || {}));
