// Talks to `skyeye review`: the page's token goes with each call, and changes are asked for steadily.
(function (skyeye) {
  "use strict";

  const EVERY = 3000; // ms
  const token = new URLSearchParams(location.search).get("token") || "";
  let version = 0;
  let isSilent = false;
  let isOld = false; // the page's data, since the server could not write them

  skyeye.isServed = () => window.skyeyeServer === true;

  // {status, body}; status 0 where the server does not answer.
  skyeye.ask = async function (path, body) {
    const options = { headers: { "X-SkyEye-Token": token }, cache: "no-store" };
    if (body !== undefined) {
      options.method = "POST";
      options.headers["Content-Type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    try {
      const answer = await fetch(path, options);
      return { status: answer.status, body: await answer.json().catch(() => null) };
    } catch {
      return { status: 0, body: null };
    }
  };

  // Why something was not done; `key` of the text before a reason that the page has no words for.
  skyeye.refusal = function (status, answer, key) {
    const { text } = skyeye;
    if (!status) return text("no_answer");
    if (answer?.code) return text(`refused.${answer.code}`, answer.values);
    return [text(key), answer?.error].filter(Boolean).join(" ");
  };

  // Sends a change; true where it is saved. Says what is wrong where it is not.
  skyeye.save = async function (path, body) {
    const { status, body: answer } = await skyeye.ask(path, body);
    if (status === 200) {
      skyeye.takeReviews([answer.review]);
      skyeye.writeRecord();
      skyeye.refreshCheck();
      return answer.review;
    }
    if (status === 409 && answer?.review) {
      skyeye.takeReviews([answer.review]);
      skyeye.writeRecord();
      skyeye.warn(`${skyeye.refusal(status, answer)} ${entryOf(answer.review)}`);
    } else skyeye.warn(skyeye.refusal(status, answer, "not_saved"));
    return null;
  };

  skyeye.startReview = async function () {
    if (!skyeye.isServed()) return;
    await poll();
    skyeye.refreshCheck();
  };

  async function poll() {
    const { status, body } = await skyeye.ask(`/api/reviews?since=${version}`);
    if (status === 200 && body) {
      version = body.version;
      if (isSilent) skyeye.announce(skyeye.text("answers_again"));
      isSilent = false;
      if (body.is_page_old && !isOld) skyeye.warn(skyeye.text("refused.page_is_old"));
      isOld = body.is_page_old;
      if ((body.adapted || "") !== (skyeye.scene.adapted?.time || "")) await skyeye.renewData();
      if (skyeye.takeReviews(body.reviews)) {
        skyeye.writeRecord();
        skyeye.refreshCheck();
      }
    } else if (!isSilent) {
      isSilent = true;
      skyeye.warn(skyeye.refusal(status, body, "no_answer"));
    }
    setTimeout(poll, EVERY);
  }

  function entryOf(review) {
    const verdict =
      review.verdict === "grade"
        ? skyeye.gradeText(review.damage)
        : skyeye.text(review.verdict);
    const values = { by: review.by || "–", grade: verdict, note: review.note || "–" };
    return skyeye.text("conflict_entry", values);
  }
})((window.skyeye = window.skyeye || {}));
