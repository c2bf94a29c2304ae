// The frame: px of the assessment's grid, x right and y down. Leaflet's "latitude" is y, its "longitude" x.
(function (skyeye) {
  "use strict";

  const MOST_DRAWN = 25000; // buildings in a view that stay fluid
  const VIEW = 2048; // screen px, a generous view

  // At zoom `max_zoom` one screen px is one px.
  skyeye.crs = function () {
    const scale = 1 / 2 ** skyeye.scene.max_zoom;
    const transformation = new L.Transformation(scale, 0, scale, 0);
    return L.extend({}, L.CRS.Simple, { transformation });
  };

  skyeye.place = (x, y) => L.latLng(y, x);
  skyeye.bounds = (box) => L.latLngBounds([box[1], box[0]], [box[3], box[2]]);
  skyeye.scaleAt = (zoom) => 2 ** (zoom - skyeye.scene.max_zoom);

  // Box of what both images show, or of the whole scene.
  skyeye.sceneBox = function () {
    const { coverage, width, height } = skyeye.scene;
    const box = coverage && coverage.length ? skyeye.boxOf(coverage) : [0, 0, width, height];
    return box[2] > box[0] && box[3] > box[1] ? box : [0, 0, width, height];
  };

  skyeye.boxOf = function (rings) {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    for (const ring of rings) {
      for (let k = 0; k < ring.length; k += 2) {
        box[0] = Math.min(box[0], ring[k]);
        box[1] = Math.min(box[1], ring[k + 1]);
        box[2] = Math.max(box[2], ring[k]);
        box[3] = Math.max(box[3], ring[k + 1]);
      }
    }
    return box;
  };

  // px2 of a ring x, y, x, y, ...; below 0 where it runs the other way round.
  skyeye.surfaceOf = function (ring) {
    let twice = 0;
    for (let k = 0, j = ring.length - 2; k < ring.length; j = k, k += 2) {
      twice += ring[j] * ring[k + 1] - ring[k] * ring[j + 1];
    }
    return twice / 2;
  };

  // Longitude and latitude of a px, bilinear in the lattice; null where the page has none.
  skyeye.lonlat = function (x, y) {
    const lattice = skyeye.scene.lonlat;
    if (!lattice || x < 0 || y < 0 || x > skyeye.scene.width || y > skyeye.scene.height) return null;
    const [i, u] = fraction(lattice.x, x);
    const [j, v] = fraction(lattice.y, y);
    const between = (rows) =>
      (rows[j][i] * (1 - u) + rows[j][i + 1] * u) * (1 - v) +
      (rows[j + 1][i] * (1 - u) + rows[j + 1][i + 1] * u) * v;
    return [between(lattice.lon), between(lattice.lat)];
  };

  // A round length {length (m), text} that fills at most `most` screen px of `metres` each.
  skyeye.scaleLength = function (metres, most) {
    const power = 10 ** Math.floor(Math.log10(metres * most));
    const length = [5, 2, 1].map((step) => step * power).find((each) => each <= metres * most);
    const text =
      length < 1000 ? `${skyeye.number(length, length < 1 ? 1 : 0)} m` : `${skyeye.number(length / 1000)} km`;
    return { length, text };
  };

  // Lowest zoom at which no view holds more buildings than can be drawn; cells stand for them below it.
  skyeye.buildingZoom = function () {
    const { chunks, chunk, max_zoom: most } = skyeye.scene;
    const places = Object.entries(chunks).map(([key, count]) => [...key.split("_").map(Number), count]);
    for (let zoom = 0; zoom < most; zoom++) {
      const side = Math.ceil(VIEW / skyeye.scaleAt(zoom) / chunk);
      if (mostWithin(places, side) <= MOST_DRAWN) return zoom;
    }
    return most;
  };

  // Most buildings in squares of `side` chunks, set half over each other.
  function mostWithin(places, side) {
    const step = Math.max(1, Math.floor(side / 2));
    const sums = new Map();
    let most = 0;
    for (const [x, y, count] of places) {
      for (let i = 0; i < 2; i++) {
        for (let j = 0; j < 2; j++) {
          const key = `${Math.floor(x / step) - i} ${Math.floor(y / step) - j}`;
          const sum = (sums.get(key) || 0) + count;
          sums.set(key, sum);
          most = Math.max(most, sum);
        }
      }
    }
    return most;
  }

  function fraction(nodes, value) {
    let index = 0;
    while (index < nodes.length - 2 && nodes[index + 1] < value) index++;
    return [index, (value - nodes[index]) / (nodes[index + 1] - nodes[index])];
  }
})((window.skyeye = window.skyeye || {}));
