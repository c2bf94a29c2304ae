// Talks to `skyeye review`: the page's token goes with each call, and changes are asked for steadily.
(function (skyeye) {
  "use strict";

  const EVERY = 3000; // ms
  const token = new URLSearchParams(location.search).get("token") || "";
  let version = 0;
  let isSilent = false;

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
      skyeye.warn(conflict(answer));
    } else skyeye.warn(answer?.error || skyeye.text(status ? "not_saved" : "no_answer"));
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
      if ((body.adapted || "") !== (skyeye.scene.adapted?.time || "")) await skyeye.renewData();
      if (skyeye.takeReviews(body.reviews)) {
        skyeye.writeRecord();
        skyeye.refreshCheck();
      }
    } else if (!isSilent) {
      isSilent = true;
      skyeye.warn(body?.error || skyeye.text("no_answer"));
    }
    setTimeout(poll, EVERY);
  }

  // What the server says, and the other's entry.
  function conflict({ error, review }) {
    const verdict =
      review.verdict === "grade"
        ? skyeye.gradeText(review.damage)
        : skyeye.text(review.verdict);
    const theirs = skyeye.text("conflict_entry", {
      by: review.by || "–",
      grade: verdict,
      note: review.note || "–",
    });
    const sentence = (error || skyeye.text("conflict")).replace(/[.\s]*$/, ".");
    return `${sentence} ${theirs}`;
  }
})((window.skyeye = window.skyeye || {}));
