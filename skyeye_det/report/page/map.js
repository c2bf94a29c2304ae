// The map: images, buildings, areas, the selected outline; where it looks, and what lies under the pointer.
(function (skyeye) {
  "use strict";

  const REACH = 6; // screen px around a click
  const CLOSE = 3; // a building fills a third of the view
  const maps = []; // the main one, and the one of the image before when they stand side by side
  let moving = 0;

  skyeye.areAreasShown = true;

  skyeye.startMap = function () {
    skyeye.closeZoom = skyeye.buildingZoom();
    const map = newMap("map");
    skyeye.map = map;
    for (const [side, order] of [
      ["pre", 200],
      ["post", 210],
    ]) {
      map.createPane(side).style.zIndex = order;
      skyeye.imageTiles(side, side).addTo(map);
    }
    addMarks(map);
    skyeye.showAreas(skyeye.areAreasShown);
    map.on("move", () => {
      clearTimeout(moving);
      moving = setTimeout(lookAround, 120);
      writeScale();
    });
    map.on("moveend", lookAround);
    map.on("mousemove", ({ latlng }) => writePointer(latlng));
    map.on("mouseout", () => writePointer(null));
    skyeye.byId("zoom-in").addEventListener("click", () => map.zoomIn());
    skyeye.byId("zoom-out").addEventListener("click", () => map.zoomOut());
    skyeye.byId("zoom-all").addEventListener("click", () => skyeye.goTo(skyeye.sceneBox()));
    skyeye.goTo(skyeye.sceneBox(), true);
    new ResizeObserver(skyeye.refreshMaps).observe(skyeye.byId("stage"));
  };

  // After their room has changed.
  skyeye.refreshMaps = () => maps.forEach((map) => map.invalidateSize({ animate: false }));

  // The second map, of the image before, made when it is first asked for.
  skyeye.secondMap = function () {
    if (maps.length > 1) return maps[1];
    const second = newMap("map-before");
    second.createPane("pre").style.zIndex = 200;
    skyeye.imageTiles("pre", "pre").addTo(second);
    second.setView(skyeye.map.getCenter(), skyeye.map.getZoom(), { animate: false });
    addMarks(second);
    follow(skyeye.map, second);
    follow(second, skyeye.map);
    skyeye.showAreas(skyeye.areAreasShown);
    skyeye.outlineSelected();
    return second;
  };

  // Box of px in view.
  skyeye.viewBox = function () {
    const bounds = skyeye.map.getBounds();
    return [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
  };

  // The level whose tiles are shown; fitted views stand between two of them.
  skyeye.level = () => Math.round(skyeye.map.getZoom());

  skyeye.goTo = function (box, isAtOnce) {
    const { map } = skyeye;
    const isQuick = isAtOnce || matchMedia("(prefers-reduced-motion: reduce)").matches;
    map.options.zoomSnap = 0; // the box shall fill the view
    if (isQuick) map.fitBounds(skyeye.bounds(box), { animate: false, padding: [14, 32] });
    else map.flyToBounds(skyeye.bounds(box), { duration: 0.7, padding: [14, 32] });
    map.options.zoomSnap = 1;
  };

  // A building comes to the middle; nearer only if it would be small.
  skyeye.goToBuilding = function (box) {
    const { map } = skyeye;
    const size = Math.max(box[2] - box[0], box[3] - box[1]) * CLOSE;
    const around = [box[0] - size, box[1] - size, box[2] + size, box[3] + size];
    const fitting = Math.floor(map.getBoundsZoom(skyeye.bounds(around)));
    const nearest = Math.min(fitting, skyeye.scene.max_zoom);
    const zoom = Math.max(skyeye.closeZoom, Math.min(Math.max(skyeye.level(), nearest), fitting + 1));
    const middle = skyeye.place((box[0] + box[2]) / 2, (box[1] + box[3]) / 2);
    map.setView(middle, zoom, { animate: zoom === map.getZoom() && map.getBounds().contains(middle) });
  };

  // Selects the building at a place, or goes nearer to the cell there.
  skyeye.pick = function ({ lng: x, lat: y }) {
    if (skyeye.level() < skyeye.closeZoom) {
      const cell = skyeye.cellAt(x, y);
      if (cell) skyeye.goTo(cell.box);
      return;
    }
    const found = skyeye.buildingAt(x, y, REACH / skyeye.scaleAt(skyeye.map.getZoom()));
    if (found) skyeye.select(found.chunk, found.index);
    else skyeye.clearSelection();
  };

  // The outline of what is selected, over both images.
  skyeye.outline = function (rings) {
    const shapes = rings.map((ring) => pairs(ring));
    for (const map of maps) {
      map.selection.clearLayers();
      if (!rings.length) continue;
      for (const style of [
        { color: "#08121c", weight: 7, opacity: 0.8 },
        { color: "#ffffff", weight: 3 },
      ]) {
        map.selection.addLayer(L.polygon(shapes, { ...style, fill: false, interactive: false }));
      }
    }
  };

  skyeye.showAreas = function (isShown) {
    for (const map of maps) {
      map.areas.clearLayers();
      for (const area of (isShown && skyeye.scene.areas) || []) {
        const style = {
          color: "#ffffff",
          weight: 1.5,
          opacity: 0.9,
          dashArray: "6 4",
          fill: false,
          interactive: false,
        };
        const name = { permanent: true, direction: "center", className: "area-name" };
        map.areas.addLayer(
          L.polygon(area.rings.map(pairs), style).bindTooltip(skyeye.element("span", {}, area.name), name),
        );
      }
    }
    skyeye.areAreasShown = isShown;
  };

  function newMap(id) {
    const map = L.map(id, {
      crs: skyeye.crs(),
      minZoom: 0,
      maxZoom: skyeye.scene.max_zoom + 3,
      maxBounds: skyeye.bounds([0, 0, skyeye.scene.width, skyeye.scene.height]).pad(0.5),
      maxBoundsViscosity: 0.8,
      attributionControl: false,
      zoomControl: false,
      fadeAnimation: false,
      zoomAnimation: id === "map",
      wheelPxPerZoomLevel: 90,
    });
    maps.push(map);
    map.on("zoomend", () => map.getContainer().classList.toggle("between", map.getZoom() % 1 !== 0));
    map.areas = L.layerGroup().addTo(map);
    map.selection = L.layerGroup().addTo(map);
    map.on("click", ({ latlng }) => skyeye.isDrawing() || skyeye.pick(latlng));
    return map;
  }

  function addMarks(map) {
    map.createPane("marks").style.zIndex = 350;
    map.marks = skyeye.marksLayer("marks").addTo(map);
  }

  skyeye.showMarks = function (isShown) {
    for (const map of maps) map.getPane("marks").style.display = isShown ? "" : "none";
  };

  let isFollowing = false;
  function follow(from, to) {
    from.on("move", () => {
      if (isFollowing || !skyeye.isSideBySide()) return;
      isFollowing = true;
      to.setView(from.getCenter(), from.getZoom(), { animate: false });
      isFollowing = false;
    });
  }

  function lookAround() {
    const isClose = skyeye.level() >= skyeye.closeZoom;
    skyeye.wantChunks(isClose ? skyeye.viewBox() : null);
    writeScale();
    writePointer(null);
    skyeye.writeShown();
  }

  function writeScale() {
    const metres = skyeye.scene.pixel_m / skyeye.scaleAt(skyeye.map.getZoom()); // of a screen px
    const { length, text } = skyeye.scaleLength(metres, 130);
    skyeye.byId("scale-bar").style.width = `${length / metres}px`;
    skyeye.byId("scale-text").textContent = text;
  }

  function writePointer(latlng) {
    const at = latlng || skyeye.map.getCenter();
    const degrees = skyeye.lonlat(at.lng, at.lat);
    const px = `px ${Math.floor(at.lng)}, ${Math.floor(at.lat)}`;
    const place = degrees ? `${degrees[1].toFixed(6)}, ${degrees[0].toFixed(6)} · ` : "";
    skyeye.byId("pointer").textContent = `${latlng ? "" : `${skyeye.text("middle")} `}${place}${px}`;
  }

  function pairs(ring) {
    const points = [];
    for (let k = 0; k < ring.length; k += 2) points.push([ring[k + 1], ring[k]]);
    return points;
  }
})((window.skyeye = window.skyeye || {}));
