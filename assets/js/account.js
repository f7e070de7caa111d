// Forms that post to plain routes (sign in, sign up, reset): JSON out, a session cookie or a reason back.

function say(form, message, name = "") {
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  for (const room of form.querySelectorAll("[data-error]")) room.textContent = "";
  if (message) point(form, message, name);
}

/** Say something beside the field `name`, or under the form, and go there. */
function point(form, message, name) {
  const room = form.querySelector(`[data-error="${CSS.escape(name)}"]`) ?? form.querySelector("[data-error='']");
  if (room) room.textContent = message;
  const field = name && form.elements.namedItem(name);
  if (field) {
    field.setAttribute("aria-invalid", "true");
    field.focus();
  }
}

const MISSING = { email: "Enter an e-mail address.", password: "Enter a password." };

/** Say beside each field what it lacks; whether all is there. The browser's own bubbles are off (novalidate). */
function complete(form) {
  say(form, "");
  const wrong = [...form.elements].filter((field) => field.willValidate && !field.checkValidity());
  for (const field of wrong.reverse()) {
    const words = field.validity.valueMissing
      ? (MISSING[field.type] ?? "Fill this in.")
      : "That is no e-mail address. It looks like name@example.org.";
    point(form, words, field.name);
  }
  return wrong.length === 0;
}

/** An address on this site from ?next=, or the fallback: never another site. */
function next(fallback) {
  const wanted = new URLSearchParams(location.search).get("next") ?? "";
  try {
    const url = new URL(wanted, location.origin);
    const ours = wanted.startsWith("/") && url.origin === location.origin;
    // "/.//elsewhere" is ours, but its path alone, "//elsewhere", is a site: no such path, and the whole address.
    return ours && !url.pathname.startsWith("//") ? url.href : fallback;
  } catch {
    return fallback;
  }
}

/** Who is signed in changes: the next page is a new tab to the server, and finds no draft of whoever left. */
function forgetTab(leaving) {
  try {
    sessionStorage.removeItem("token");
    if (leaving) localStorage.removeItem("zoetrope.draft");
  } catch {
    // Storage is closed in this browser: nothing was kept.
  }
}

async function post(form) {
  const button = form.querySelector("[type=submit]");
  button.disabled = true;
  say(form, "");
  try {
    const fields = Object.fromEntries(new FormData(form));
    const token = new URLSearchParams(location.search).get("token");
    if (token && form.dataset.withToken !== undefined) fields.token = token;
    const answer = await fetch(form.dataset.post, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Zoetrope": "1" },
      body: JSON.stringify(fields),
    });
    const said = await answer.json().catch(() => ({}));
    if (!answer.ok) {
      say(form, said.error?.message ?? "That did not work. Try again in a moment.", said.error?.param ?? "");
    } else if (form.dataset.then && !said.message) {
      forgetTab(form.dataset.post === "/auth/sign-out");
      // A new page load, so that the event socket carries the new cookie.
      location.assign(next(form.dataset.then));
      return;
    } else {
      form.dataset.done = "";
      form.reset();
      const room = form.querySelector("[data-done-words]");
      if (said.message && room) room.textContent = said.message;
    }
  } catch {
    say(form, "The studio cannot be reached. Check the network and try again.");
  }
  button.disabled = false;
}

/** Handle every form[data-post] on the site, now and later. */
export function watchForms() {
  document.addEventListener(
    "submit",
    (event) => {
      const form = event.target.closest("form[data-post]");
      if (!form) return;
      event.preventDefault();
      event.stopPropagation();
      if (complete(form)) post(form);
    },
    true,
  );
}
