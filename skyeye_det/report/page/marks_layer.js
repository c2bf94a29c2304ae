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
      this.on("tileunload", ({ tile }) => {
        this.living.delete(tile);
        tile.width = tile.height = 0; // its memory goes at once
      });
      return L.GridLayer.prototype.onAdd.call(this, map);
    },

    onRemove(map) {
      layers.delete(this);
      return L.GridLayer.prototype.onRemove.call(this, map);
    },

    createTile(coords, done) {
      const tile = document.createElement("canvas");
      const ratio = Math.min(window.devicePixelRatio || 1, 2);
      tile.width = SIDE * ratio;
      tile.height = SIDE * ratio;
      this.living.set(tile, { coords, ratio, done: () => done(null, tile) });
      dirty.push([this, tile]);
      ask();
      return tile;
    },
  });

  skyeye.marksLayer = (pane) =>
    new Marks({ tileSize: SIDE, pane, maxZoom: skyeye.scene.max_zoom + 3, keepBuffer: 1, updateInterval: 60 });

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
      drawTile(tile, layer.living.get(tile));
    }
    dirty = dirty.filter(([layer, tile]) => layer.living.has(tile) && !done.has(tile));
    isAsked = false;
    ask();
  }

  function drawTile(tile, about) {
    const context = tile.getContext("2d");
    const scale = skyeye.scaleAt(about.coords.z);
    const box = boxOf(about.coords);
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, tile.width, tile.height);
    const k = scale * about.ratio;
    // px of the grid -> px of the canvas, and how thick one screen px is in it
    const view = { k, x: -box[0] * k, y: -box[1] * k, ratio: about.ratio, box };
    if (about.coords.z < skyeye.closeZoom) skyeye.drawCells(context, view);
    else skyeye.drawBuildings(context, view);
    about.done();
    about.done = () => {};
  }

  function boxOf(coords) {
    const side = SIDE / skyeye.scaleAt(coords.z);
    return [coords.x * side, coords.y * side, (coords.x + 1) * side, (coords.y + 1) * side];
  }

  function meets(a, b) {
    return a[0] <= b[2] && a[2] >= b[0] && a[1] <= b[3] && a[3] >= b[1];
  }
})((window.skyeye = window.skyeye || {}));
