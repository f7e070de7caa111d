// The parts of the pages that live in the browser alone. What is lasting goes through the server.
import "./connection.js";
import "./elements.js";
import "./player.js";
import "./previews.js";
import { readPagesAhead } from "./ahead.js";
import { switchTheme } from "./appearance.js";
import { draftWhenDrawn, restoreDraft, draftSent } from "./composer.js";
import { watchForms } from "./account.js";
import { openDialog } from "./dialogs.js";
import { watchKeys } from "./keys.js";
import { showSecret } from "./secret.js";
import { toast } from "./toast.js";
import { watchWayBack } from "./way_back.js";

/** A clip is ready: in a tab that nobody looks at, its title says so until somebody does. */
function arrived({ prompt, href, quiet }) {
  if (document.hidden) {
    const before = document.title;
    document.title = `Ready: ${prompt}`;
    const seen = () => {
      if (document.hidden) return;
      document.title = before;
      document.removeEventListener("visibilitychange", seen);
    };
    document.addEventListener("visibilitychange", seen);
  }
  if (!quiet) toast({ text: `Your clip is ready: ${prompt}`, tone: "good", action: "Open", href });
}

// An event may come before the page that it changes is drawn.
const MOST_FRAMES = 120;
const early = window.zoetrope?.early ?? [];

window.zoetrope = {
  draftWhenDrawn,
  restoreDraft,
  draftSent,
  showSecret,
  toast,
  open: openDialog,
  close: (id) => document.getElementById(id)?.close(),
  arrived,
  creditsChanged: () => document.querySelector("[data-requote]")?.click(),
  // React Router's own state stays with the entry: going back and forth works as before.
  setAddress: (address) => history.replaceState(history.state, "", address),
  setField: (selector, value) => {
    const field = document.querySelector(selector);
    if (field && field !== document.activeElement) field.value = value;
  },
  door: () => location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`),
  fields: (selector) => Object.fromEntries(new FormData(document.querySelector(selector))),
  clear: (selector) => document.querySelector(selector)?.reset(),
  focus: (selector, framesLeft = MOST_FRAMES) =>
    requestAnimationFrame(() => {
      const found = document.querySelector(selector);
      if (!found && framesLeft) return void window.zoetrope.focus(selector, framesLeft - 1);
      found?.closest("details")?.setAttribute("open", "");
      found?.focus();
    }),
};

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) openDialog(opener.dataset.opens);

  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog")?.close();

  const focuser = event.target.closest("[data-focuses]");
  if (focuser) document.querySelector(focuser.dataset.focuses)?.focus();

  const copier = event.target.closest("[data-copies]");
  if (copier) {
    navigator.clipboard?.writeText(copier.dataset.copies).then(
      () => toast({ text: copier.dataset.copied ?? "Copied" }),
      () => toast({ text: "This browser does not let pages copy. Select the text instead.", tone: "bad" }),
    );
  }

  if (event.target.closest("[data-theme-toggle]")) switchTheme();

  const seeker = event.target.closest("[data-seek]");
  if (seeker) document.querySelector("z-player")?.showAt(Number(seeker.dataset.seek));

  // A click on a dialog's backdrop closes it.
  if (event.target instanceof HTMLDialogElement) event.target.close();

  // Menus are <details>: one open at a time, and a click elsewhere closes them.
  const inside = event.target.closest("details[data-menu]");
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (menu !== inside) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
});

for (const { name, values, answer } of early) answer(window.zoetrope[name]?.(...values));

watchForms();
watchKeys();
watchWayBack();
readPagesAhead();
document.documentElement.dataset.ready = "";
