// The map's layer of buildings, or of cells when far out: canvas tiles, so that panning only moves bitmaps.
(function (skyeye) {
  "use strict";

  const SIDE = 512; // screen px of a tile
  const BUDGET = 10; // ms a frame, so that 30 frames a second remain
  const layers = new Set();
  let dirty = []; // [layer, tile]
  let isAsked = false;

  const Marks = L.GridLayer.extend({
    onAdd(map) {
      this.living = new Map();
      layers.add(this);
      map.on("zoomend", this.sharpen, this);
      this.on("tileunload", ({ tile }) => {
        this.living.delete(tile);
        tile.width = tile.height = 0; // its memory goes at once
      });
      return L.GridLayer.prototype.onAdd.call(this, map);
    },

    onRemove(map) {
      layers.delete(this);
      map.off("zoomend", this.sharpen, this);
      return L.GridLayer.prototype.onRemove.call(this, map);
    },

    // Canvas px a screen px of the tile's level: more or less where the map stands between two levels.
    ratioOf(coords) {
      return screenRatio() * this._map.getZoomScale(this._map.getZoom(), coords.z);
    },

    sharpen() {
      for (const [tile, { coords }] of this.living) {
        if (tile.width !== Math.round(SIDE * this.ratioOf(coords))) dirty.push([this, tile]);
      }
      ask();
    },

    createTile(coords, done) {
      const tile = document.createElement("canvas");
      this.living.set(tile, { coords, done: () => done(null, tile) });
      dirty.push([this, tile]);
      ask();
      return tile;
    },
  });

  skyeye.marksLayer = (pane) =>
    new Marks({
      tileSize: SIDE,
      pane,
      maxZoom: skyeye.scene.max_zoom + 3,
      keepBuffer: 1,
      updateInterval: 60,
    });

  // Draws again what touches a box of px, or everything.
  skyeye.redraw = function (box) {
    for (const layer of layers) {
      for (const [tile, { coords }] of layer.living) {
        if (!box || meets(box, boxOf(coords))) dirty.push([layer, tile]);
      }
    }
    ask();
  };

  skyeye.setOpacity = function (share) {
    for (const layer of layers) layer.setOpacity(share);
  };

  // Whether all that is in view is there, as tests and pictures wait for.
  skyeye.isDrawn = () => dirty.length === 0 && !skyeye.isLoading();

  function ask() {
    if (!isAsked && dirty.length) requestAnimationFrame(drawSome);
    isAsked = dirty.length > 0;
  }

  function drawSome() {
    const end = performance.now() + BUDGET;
    const done = new Set();
    while (dirty.length && performance.now() < end) {
      const [layer, tile] = dirty.shift();
      if (done.has(tile) || !layer.living.has(tile)) continue;
      done.add(tile);
      drawTile(layer, tile);
    }
    dirty = dirty.filter(([layer, tile]) => layer.living.has(tile) && !done.has(tile));
    isAsked = false;
    ask();
  }

  function drawTile(layer, tile) {
    const about = layer.living.get(tile);
    const isCells = about.coords.z < skyeye.closeZoom;
    const side = Math.round(SIDE * layer.ratioOf(about.coords));
    tile.width = tile.height = side; // empties it too
    const k = (skyeye.scaleAt(about.coords.z) * side) / SIDE;
    const box = boxOf(about.coords);
    // px of the grid -> px of the canvas, of which `ratio` are one of the screen
    const view = { k, x: -box[0] * k, y: -box[1] * k, ratio: screenRatio(), box };
    skyeye[isCells ? "drawCells" : "drawBuildings"](tile.getContext("2d"), view);
    about.done();
    about.done = () => {};
  }

  function screenRatio() {
    return Math.min(window.devicePixelRatio || 1, 2);
  }

  function boxOf(coords) {
    const side = SIDE / skyeye.scaleAt(coords.z);
    return [coords.x * side, coords.y * side, (coords.x + 1) * side, (coords.y + 1) * side];
  }

  function meets(a, b) {
    return a[0] <= b[2] && a[2] >= b[0] && a[1] <= b[3] && a[3] >= b[1];
  }
})((window.skyeye = window.skyeye || {}));
