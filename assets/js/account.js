// Forms that post to plain routes (sign in, sign up, reset): JSON out, a session cookie or a reason back.

/** Say beside each field what is wrong with it, `[{message, param}]`, or under the form, and go to the first field. */
function say(form, wrong) {
  for (const field of form.querySelectorAll("[aria-invalid]")) field.removeAttribute("aria-invalid");
  for (const room of form.querySelectorAll("[data-error]")) room.textContent = "";
  for (const { message, param } of wrong) {
    const beside = form.querySelector(`[data-error="${CSS.escape(param ?? "")}"]`);
    const room = beside ?? form.querySelector("[data-error='']");
    if (room) room.textContent = message;
    const field = param && form.elements.namedItem(param);
    if (field instanceof HTMLElement) field.setAttribute("aria-invalid", "true");
  }
  form.querySelector("[aria-invalid]")?.focus();
}

const MISSING = {
  email: "Enter an e-mail address.",
  password: "Enter a password.",
  current: "Enter a password.",
  invitation: "Enter the code that you were given.",
};

function lack(field) {
  if (field.validity.valueMissing) return MISSING[field.name] ?? "Fill this in.";
  if (field.validity.typeMismatch) return "That is no e-mail address. It looks like name@example.org.";
  // Not by its validity: that does not count what a password manager wrote.
  const least = field.minLength;
  return least > 0 && [...field.value].length < least ? `A password has ${least} characters or more.` : "";
}

/** Say beside each field what it lacks; whether all is there. The browser's own bubbles are off (novalidate). */
function complete(form) {
  const wrong = [...form.elements]
    .filter((field) => field.willValidate)
    .map((field) => ({ message: lack(field), param: field.name }))
    .filter(({ message }) => message);
  say(form, wrong);
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
      const { message = "That did not work. Try again in a moment.", param = "", also = [] } = said.error ?? {};
      say(form, [{ message, param }, ...also]);
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
    say(form, [{ message: "The studio cannot be reached. Check the network and try again." }]);
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
