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

  const ImageTiles = L.TileLayer.extend({
    createTile(coords, done) {
      if (skyeye.hasTile(this.options.side, coords.z, coords.x, coords.y)) {
        return L.TileLayer.prototype.createTile.call(this, coords, done);
      }
      const nothing = document.createElement("div");
      setTimeout(() => done(null, nothing));
      return nothing;
    },
  });

  skyeye.imageTiles = function (side, pane) {
    return new ImageTiles("tiles/{side}/{z}/{x}/{y}.jpg", {
      side,
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
        const place = [(x * size - box[0]) * scale, (y * size - box[1]) * scale, size * scale, size * scale];
        jobs.push(
          imageAt(skyeye.tilePath(side, zoom, x, y)).then(
            (image) => image && context.drawImage(image, ...place),
          ),
        );
      }
    }
    return Promise.all(jobs);
  };

  function imageAt(path) {
    return new Promise((resolve) => {
      const image = new Image();
      image.onload = () => resolve(image);
      image.onerror = () => resolve(null);
      image.src = path;
    });
  }
})((window.skyeye = window.skyeye || {}));
