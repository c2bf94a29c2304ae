// The reviewer's controls: a grade, not a building, can't tell, a note, undo, and drawing what is missed.
(function (skyeye) {
  "use strict";

  const KEPT = "skyeye-reviewer";
  const drafts = new Map(); // key of a building -> note that is not saved yet
  let isGoingOn = true;

  skyeye.reviewControls = function () {
    const { element, text } = skyeye;
    const isOff = !skyeye.isServed();
    const verdicts = [0, 1, 2, 3].map((damage) =>
      verdictButton(
        `verdict-${damage}`,
        String(damage + 1),
        skyeye.gradeName(damage),
        skyeye.colorOf(damage),
        () => skyeye.saveReview("grade", damage),
      ),
    );
    verdicts.push(
      verdictButton("verdict-not_a_building", "0", text("not_a_building"), null, () =>
        skyeye.saveReview("not_a_building"),
      ),
      verdictButton("verdict-cannot_tell", "?", text("cannot_tell"), null, () =>
        skyeye.saveReview("cannot_tell"),
      ),
    );
    const name = element("input", {
      id: "reviewer",
      maxlength: 80,
      value: reviewer(),
      autocomplete: "off",
      change: () => keep(name.value),
    });
    const note = element("textarea", {
      id: "note",
      rows: 2,
      maxlength: 2000,
      input: () => drafts.set(selectedKey(), note.value),
    });
    const goOn = element("input", {
      type: "checkbox",
      id: "go-on",
      checked: isGoingOn,
      change: () => (isGoingOn = goOn.checked),
    });
    return element(
      "fieldset",
      { id: "review", disabled: isOff },
      element("legend", {}, text("review")),
      isOff ? element("p", { class: "notice", id: "review-off" }, skyeye.textNodes("review_off")) : null,
      element("p", { id: "review-state", class: "quiet" }),
      element("div", { class: "verdicts" }, verdicts),
      element("label", { class: "row" }, text("reviewer"), name),
      element("label", { class: "stack" }, text("note"), note),
      element("label", { class: "check" }, goOn, text("go_on")),
      element(
        "div",
        { class: "buttons" },
        button("save-note", text("save_note"), saveNote),
        button("clear-review", text("clear_review"), () => skyeye.saveReview("none")),
        button("undo", `${text("undo")} (u)`, skyeye.undo),
        button("draw", `${text("draw")} (d)`, () => skyeye.toggleDrawing()),
      ),
    );
  };

  // Says what stands for the selected building.
  skyeye.writeReviewState = function () {
    const { selected, text } = skyeye;
    const review = selected && skyeye.reviewOf(selected.chunk, selected.index);
    const shown = selected ? skyeye.shownDamage(selected.chunk, selected.index) : null;
    const names = { [skyeye.NOT_A_BUILDING]: "not_a_building", [skyeye.CANNOT_TELL]: "cannot_tell" };
    for (const each of ["0", "1", "2", "3", "not_a_building", "cannot_tell"]) {
      const isIt = Boolean(review) && each === (names[shown] ?? String(shown));
      skyeye.byId(`verdict-${each}`).setAttribute("aria-pressed", String(isIt));
    }
    const state = review
      ? text("reviewed_state", { grade: skyeye.gradeText(shown), by: review.by || "–" })
      : text("not_reviewed");
    skyeye.byId("review-state").textContent = selected ? state : "";
    skyeye.byId("note").value = selected ? (drafts.get(selectedKey()) ?? review?.note ?? "") : "";
  };

  // Saves a verdict on the selected building, or on the outline that was just drawn.
  skyeye.saveReview = async function (verdict, damage) {
    if (!isReady()) return;
    if (skyeye.hasOutline()) {
      if (verdict === "grade") await skyeye.saveDrawn(damage, skyeye.byId("note").value, reviewer());
      return;
    }
    const { selected } = skyeye;
    if (!selected) {
      skyeye.announce(skyeye.text("select_first"));
      return;
    }
    const { chunk, index } = selected;
    const key = selectedKey();
    const body = {
      id: chunk.ids[index],
      layer: chunk.layer[index],
      verdict,
      note: skyeye.byId("note").value,
      by: reviewer(),
      lock: skyeye.lockOf(chunk, index),
    };
    if (verdict === "grade") body.damage = damage;
    if (!(await skyeye.save("/api/reviews", body))) return;
    drafts.delete(key);
    skyeye.announce(skyeye.text("saved", { id: body.id }));
    if (isGoingOn && verdict !== "none" && skyeye.isInOrder(selected)) skyeye.step(1);
  };

  skyeye.undo = async function () {
    if (!isReady()) return;
    const review = await skyeye.save("/api/undo", { by: reviewer() });
    if (review) skyeye.announce(skyeye.text("undone", { id: review.id }));
  };

  function saveNote() {
    const { selected } = skyeye;
    const review = selected && skyeye.reviewOf(selected.chunk, selected.index);
    if (!review) skyeye.announce(skyeye.text("grade_first"));
    else if (review.damage === null) skyeye.saveReview("cannot_tell");
    else if (review.damage === -1) skyeye.saveReview("not_a_building");
    else skyeye.saveReview("grade", review.damage);
  }

  // Whether somebody is there to save it for; asks for the name where not.
  function isReady() {
    if (!skyeye.isServed()) {
      skyeye.announce(skyeye.text("review_off"));
      return false;
    }
    if (reviewer()) return true;
    skyeye.showPane("building");
    skyeye.byId("reviewer").focus();
    skyeye.warn(skyeye.text("name_first"));
    return false;
  }

  function selectedKey() {
    return skyeye.selected ? skyeye.keyOf(skyeye.selected.chunk, skyeye.selected.index) : "";
  }

  let given = null;
  function reviewer() {
    if (given === null) {
      try {
        given = localStorage.getItem(KEPT) || "";
      } catch {
        given = "";
      }
    }
    return given;
  }

  function keep(name) {
    given = name.trim();
    try {
      localStorage.setItem(KEPT, given);
    } catch {
      // The name then lasts as long as the page.
    }
  }

  function verdictButton(id, key, label, color, click) {
    const { element } = skyeye;
    return element(
      "button",
      { type: "button", id, "aria-pressed": "false", click },
      element("kbd", {}, key),
      color ? skyeye.swatch(color) : null,
      label,
    );
  }

  function button(id, label, click) {
    return skyeye.element("button", { type: "button", id, click: () => click() }, label);
  }
})((window.skyeye = window.skyeye || {}));
