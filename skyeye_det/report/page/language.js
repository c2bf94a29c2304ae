// The page's words: one file a language, chosen by the browser's language or by the switch.
(function (skyeye) {
  "use strict";

  const NAMES = { en: "English", de: "Deutsch", es: "Español", fr: "Français" };
  const KEPT = "skyeye-language";
  let texts = { en: {} };
  let chosen = "en";

  skyeye.readTexts = function () {
    texts = JSON.parse(skyeye.byId("texts").textContent);
    const wanted = [kept(), ...(navigator.languages || [])].filter(Boolean).map((each) => each.slice(0, 2));
    chosen = wanted.find((each) => each in texts) || "en";
    const options = Object.keys(texts).map((code) =>
      skyeye.element("option", { value: code, lang: code, selected: code === chosen }, NAMES[code] || code),
    );
    skyeye.byId("language").replaceChildren(...options);
  };

  // The text of a key, with values by name; numbers are written as the language does.
  skyeye.text = function (key, values) {
    const text = texts[chosen][key] ?? texts.en[key] ?? key;
    return text.replace(/\{(\w+)\}/g, (whole, name) =>
      values && name in values ? shown(values[name]) : whole,
    );
  };

  const shown = (value) => (typeof value === "number" ? skyeye.number(value) : String(value));

  // The same, as nodes: what stands between backticks is code.
  skyeye.textNodes = (key) =>
    skyeye
      .text(key)
      .split("`")
      .map((part, k) => (k % 2 ? skyeye.element("code", {}, part) : part));

  // A word of a file, such as a status: in the reader's language where we know it, as it stands where not.
  skyeye.word = (word) => texts[chosen][`word.${word}`] ?? String(word);

  skyeye.number = function (value, digits) {
    if (value === null || value === undefined || Number.isNaN(value)) return "–";
    const format = { minimumFractionDigits: digits || 0, maximumFractionDigits: digits || 0 };
    return new Intl.NumberFormat(chosen, format).format(value);
  };

  skyeye.percent = (share, digits) =>
    share === null || share === undefined ? "–" : `${skyeye.number(share * 100, digits)} %`;

  skyeye.gradeName = (damage) =>
    damage >= 0 ? skyeye.text(`grade.${skyeye.scene.grades[damage].key}`) : skyeye.text("not_assessed");

  skyeye.chooseLanguage = function (code) {
    chosen = code in texts ? code : "en";
    try {
      localStorage.setItem(KEPT, chosen);
    } catch {
      // Browsers may refuse to keep anything for a page from disk.
    }
  };

  skyeye.collator = () => new Intl.Collator(chosen, { numeric: true });

  // Fills the elements that stand in index.html.
  skyeye.writeTexts = function () {
    document.documentElement.lang = chosen;
    for (const each of document.querySelectorAll("[data-text]"))
      each.textContent = skyeye.text(each.dataset.text);
    for (const each of document.querySelectorAll("[data-hint]"))
      each.placeholder = skyeye.text(each.dataset.hint);
    for (const each of document.querySelectorAll("[data-label]")) {
      each.setAttribute("aria-label", skyeye.text(each.dataset.label));
      if (each.matches("button")) each.title = skyeye.text(each.dataset.label);
    }
  };

  function kept() {
    try {
      return localStorage.getItem(KEPT);
    } catch {
      return null;
    }
  }
})((window.skyeye = window.skyeye || {}));
