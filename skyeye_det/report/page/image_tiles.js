// Tiles of the images before and after; only those that exist are asked for.
(function (skyeye) {
  "use strict";

  skyeye.hasTile = function (side, zoom, x, y) {
    const { tiles, width, height, max_zoom: most } = skyeye.scene;
    const size = 256 * 2 ** (most - zoom);
    const columns = Math.ceil(width / size);
    const rows = Math.ceil(height / size);
    if (x < 0 || y < 0 || x >= columns || y >= rows) return false;
    return (tiles[side][zoom] || "")[y * columns + x] === "1";
  };

  skyeye.tilePath = (side, zoom, x, y) => `tiles/${side}/${zoom}/${x}/${y}.jpg`;

  // Canvases in place of <img>: Chromium keeps what it has decoded of the last thousand images.
  const ImageTiles = L.GridLayer.extend({
    initialize(side, options) {
      this.side = side;
      L.GridLayer.prototype.initialize.call(this, options);
      this.on("tileunload", ({ tile }) => (tile.width = tile.height = 0)); // its memory goes at once
    },

    createTile({ x, y, z }, done) {
      const tile = skyeye.element("canvas", { class: "image-tile" });
      show(tile, skyeye.hasTile(this.side, z, x, y) && skyeye.tilePath(this.side, z, x, y)).then(() =>
        done(null, tile),
      );
      return tile;
    },
  });

  skyeye.imageTiles = function (side, pane) {
    return new ImageTiles(side, {
      pane,
      maxNativeZoom: skyeye.scene.max_zoom,
      maxZoom: skyeye.scene.max_zoom + 3,
      keepBuffer: 1,
      updateInterval: 100,
    });
  };

  // Draws the images of a box into a canvas, `scale` canvas px a px; the promise ends when all is there.
  skyeye.drawImages = function (context, side, box, scale) {
    const most = skyeye.scene.max_zoom;
    const zoom = Math.max(0, Math.min(most, most + Math.ceil(Math.log2(scale))));
    const size = 256 * 2 ** (most - zoom);
    const jobs = [];
    for (let y = Math.floor(box[1] / size); y * size < box[3]; y++) {
      for (let x = Math.floor(box[0] / size); x * size < box[2]; x++) {
        if (!skyeye.hasTile(side, zoom, x, y)) continue;
        // Whole canvas px: between parts of them the ground would show through.
        const [left, right] = [x, x + 1].map((edge) => Math.round((edge * size - box[0]) * scale));
        const [top, bottom] = [y, y + 1].map((edge) => Math.round((edge * size - box[1]) * scale));
        const place = [left, top, right - left, bottom - top];
        jobs.push(
          imageAt(skyeye.tilePath(side, zoom, x, y)).then(
            (image) => image && context.drawImage(image, ...place),
          ),
        );
      }
    }
    return Promise.all(jobs);
  };

  async function show(tile, path) {
    const image = path ? await imageAt(path) : null;
    if (!image || !tile.isConnected) return; // passed by meanwhile
    const bitmap = await createImageBitmap(image).catch(() => null); // broken
    if (bitmap && tile.isConnected) tile.getContext("bitmaprenderer").transferFromImageBitmap(bitmap);
    bitmap?.close();
  }

  function imageAt(path) {
    return new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => resolve(null);
      image.src = path;
    });
  }
})((window.skyeye = window.skyeye || {}));
