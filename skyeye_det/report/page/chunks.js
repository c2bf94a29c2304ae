// Which chunks are loaded: those in view, and lately seen ones as long as memory is cheap.
(function (skyeye) {
  "use strict";

  const MOST_KEPT = 40000; // buildings
  const AT_ONCE = 6; // files
  const DRAWN = "drawn"; // key of what reviewers have drawn

  const loaded = new Map(); // key -> parsed buildings, the lately used last
  const coming = new Map(); // key -> promise
  const queue = [];
  let wanted = new Set();
  let edition = 0; // of the files

  skyeye.loadedChunks = () => loaded.values();
  skyeye.loadedChunk = (key) => loaded.get(key) || null;
  skyeye.isLoading = () => coming.size > 0;

  // The chunk, once its file is read; null where there is none.
  skyeye.wholeChunk = function (key) {
    if (loaded.has(key)) return Promise.resolve(loaded.get(key));
    if (!Object.hasOwn(skyeye.scene.chunks, key)) return Promise.resolve(null);
    if (!coming.has(key)) {
      const promise = new Promise((resolve) => queue.push({ key, resolve }));
      coming.set(key, promise);
      readNext();
    }
    return coming.get(key);
  };

  // Says which box [x0, y0, x1, y1] is looked at: its chunks come, far ones go.
  skyeye.wantChunks = function (box) {
    wanted = new Set(box ? keysIn(box) : []);
    for (let k = queue.length - 1; k >= 0; k--) {
      const { key, resolve, asked } = queue[k];
      if (!asked || wanted.has(key)) continue;
      queue.splice(k, 1);
      coming.delete(key);
      resolve(null);
    }
    for (const key of wanted) {
      if (loaded.has(key)) {
        const chunk = loaded.get(key);
        loaded.delete(key);
        loaded.set(key, chunk);
      } else if (!coming.has(key)) {
        coming.set(key, new Promise((resolve) => queue.push({ key, resolve, asked: true })));
      }
    }
    readNext();
    unloadFar();
  };

  // Reads the grades of what is in view or selected anew, after the files have changed; forgets the rest.
  skyeye.reloadChunks = async function () {
    edition++;
    for (const key of [...loaded.keys()]) {
      if (key === DRAWN) continue;
      if (!wanted.has(key) && key !== skyeye.selected?.chunk.key) loaded.delete(key);
      else if (!coming.has(key)) coming.set(key, new Promise((resolve) => queue.push({ key, resolve })));
    }
    readNext();
    await Promise.all(coming.values());
  };

  // Buildings that reviewers have drawn: not in the files, always there.
  skyeye.setDrawn = function (content) {
    loaded.set(DRAWN, skyeye.parseBuildings(DRAWN, content));
  };

  // Chunks whose buildings may reach into a box.
  skyeye.chunksTouching = function (box) {
    const found = [];
    for (const chunk of loaded.values()) {
      const [x0, y0, x1, y1] = chunk.box;
      if (x0 <= box[2] && x1 >= box[0] && y0 <= box[3] && y1 >= box[1]) found.push(chunk);
    }
    return found;
  };

  function keysIn(box) {
    const side = skyeye.scene.chunk;
    const margin = side / 8; // buildings reach over the edge of their chunk
    const keys = [];
    for (let y = Math.floor((box[1] - margin) / side); y <= Math.floor((box[3] + margin) / side); y++) {
      for (let x = Math.floor((box[0] - margin) / side); x <= Math.floor((box[2] + margin) / side); x++) {
        if (Object.hasOwn(skyeye.scene.chunks, `${x}_${y}`)) keys.push(`${x}_${y}`);
      }
    }
    return keys;
  }

  let reading = 0;
  function readNext() {
    while (reading < AT_ONCE && queue.length) {
      const { key, resolve } = queue.shift();
      const begun = edition;
      reading++;
      skyeye.read(`chunks/${key}.js`).then((content) => {
        reading--;
        if (begun !== edition) {
          queue.push({ key, resolve });
          readNext();
          return;
        }
        coming.delete(key);
        const old = loaded.get(key);
        const isOld = Boolean(old && content && skyeye.regrade(old, content));
        const chunk = isOld ? old : content && skyeye.parseBuildings(key, content);
        if (chunk) loaded.set(key, chunk);
        else skyeye.warn(skyeye.text("missing_file", { file: `chunks/${key}.js` }));
        resolve(chunk);
        if (chunk && !isOld) {
          skyeye.redraw(chunk.box);
          skyeye.writeShown();
        }
        unloadFar();
        readNext();
      });
    }
  }

  function unloadFar() {
    let kept = 0;
    for (const chunk of loaded.values()) kept += chunk.n;
    for (const [key, chunk] of loaded) {
      if (kept <= MOST_KEPT) return;
      if (wanted.has(key) || key === DRAWN || key === skyeye.selected?.chunk.key) continue;
      loaded.delete(key);
      kept -= chunk.n;
    }
  }
})((window.skyeye = window.skyeye || {}));
