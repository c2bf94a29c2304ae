// The data files beside the page, read by script elements so that they open from disk too.
(function (skyeye) {
  "use strict";

  const waiting = new Map();

  // A file calls one of these with its content; `read` below gives it to whoever asked.
  skyeye.arrive = (path) => (content) => waiting.get(path)?.(content);
  skyeye.chunk = (key, content) => skyeye.arrive(`chunks/${key}.js`)(content);
  skyeye.ids = (number, content) => skyeye.arrive(`ids/${number}.js`)(content);
  skyeye.uncertain = (content) => skyeye.arrive("uncertain.js")(content);
  skyeye.meta = (content) => skyeye.arrive("meta.js")(content);

  // The content of a file, or null where it is missing or says nothing.
  skyeye.read = function (path) {
    return new Promise((resolve) => {
      const script = document.createElement("script");
      let content = null;
      waiting.set(path, (arrived) => (content = arrived));
      const done = () => {
        waiting.delete(path);
        script.remove();
        resolve(content);
      };
      script.onload = done;
      script.onerror = done;
      script.src = path;
      document.head.append(script);
    });
  };
})((window.skyeye = window.skyeye || {}));
