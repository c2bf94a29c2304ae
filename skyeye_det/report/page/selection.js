// The selected building: by a click, by its id, or one after the other in an order.
(function (skyeye) {
  "use strict";

  let order = null; // [[chunk key, index or id], ...]
  let orderName = "uncertain";
  let at = -1;
  let turn = 0; // a later request overtakes those before it

  skyeye.selected = null;

  skyeye.select = function (chunk, index, { isFar } = {}) {
    skyeye.selected = { chunk, index };
    skyeye.outlineSelected();
    skyeye.showPane("building");
    skyeye.writeRecord();
    if (isFar) skyeye.goToBuilding(skyeye.boxOfBuilding(chunk, index));
    const sign = skyeye.gradeText(skyeye.shownDamage(chunk, index));
    skyeye.whisper(skyeye.text("selected", { id: chunk.ids[index], grade: sign }));
  };

  skyeye.outlineSelected = function () {
    const { selected } = skyeye;
    skyeye.outline(selected ? skyeye.ringsOf(selected.chunk, selected.index) : []);
  };

  skyeye.clearSelection = function () {
    skyeye.selected = null;
    skyeye.outlineSelected();
    skyeye.writeRecord();
  };

  // Key under which a review belongs to a building.
  skyeye.keyOf = (chunk, index) => `${chunk.layer[index]}/${chunk.ids[index]}`;

  skyeye.searchId = async function (id) {
    const mine = ++turn;
    const drawn = skyeye.loadedChunk("drawn");
    const inDrawn = drawn ? drawn.ids.indexOf(id) : -1;
    if (inDrawn >= 0) return skyeye.select(drawn, inDrawn, { isFar: true });
    const keys = (await skyeye.read(`ids/${hashOf(id)}.js`)) || {};
    const key = Object.hasOwn(keys, id) ? keys[id] : null;
    const chunk = key && (await skyeye.wholeChunk(key));
    const index = chunk ? chunk.ids.indexOf(id) : -1;
    if (mine !== turn) return undefined;
    if (index < 0) return skyeye.warn(skyeye.text("not_found", { id }));
    return skyeye.select(chunk, index, { isFar: true });
  };

  // Places are [[chunk key, index or id], ...]; null: by uncertainty, from the page's file.
  skyeye.setOrder = function (name, places, start) {
    orderName = name;
    order = places;
    at = start ?? -1;
  };

  // Whether a building is the one at which the order stands.
  skyeye.isInOrder = function ({ chunk, index }) {
    const place = order && order[at];
    return Boolean(place) && place[0] === chunk.key && (place[1] === index || place[1] === chunk.ids[index]);
  };

  skyeye.orderName = () => orderName;

  // The next (1) or previous (-1) that the filter lets through; 0: the one at which the order stands.
  skyeye.step = async function (by) {
    const mine = ++turn;
    order ??= ((await skyeye.read("uncertain.js")) || []).map(([x, y, index]) => [`${x}_${y}`, index]);
    for (let next = at + by; next >= 0 && next < order.length; next += by || 1) {
      const [key, which] = order[next];
      const chunk = skyeye.loadedChunk(key) || (await skyeye.wholeChunk(key));
      if (mine !== turn) return;
      const index = typeof which === "number" ? which : chunk ? chunk.ids.indexOf(which) : -1;
      if (!chunk || index < 0 || (orderName === "uncertain" && !skyeye.passes(chunk, index))) continue;
      at = next;
      skyeye.select(chunk, index, { isFar: true });
      skyeye.writeOrder();
      return;
    }
    skyeye.announce(skyeye.text(order.length ? (by > 0 ? "no_next" : "no_previous") : "nothing_uncertain"));
  };

  skyeye.orderPlace = () => ({ at: at + 1, of: order ? order.length : null });

  function hashOf(id) {
    let sum = 0;
    for (let k = 0; k < id.length; k++) sum += id.charCodeAt(k);
    return (sum % 256).toString(16).padStart(2, "0");
  }
})((window.skyeye = window.skyeye || {}));
