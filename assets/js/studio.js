// The parts of the pages that live in the browser alone. What is lasting goes through the server.
import "./elements.js";
import "./player.js";
import { draftWhenDrawn, restoreDraft, draftSent } from "./composer.js";
import { watchForms } from "./account.js";
import { watchKeys } from "./keys.js";
import { showSecret } from "./secret.js";
import { toast } from "./toast.js";

const dialog = (id) => document.getElementById(id);

window.zoetrope = {
  draftWhenDrawn,
  restoreDraft,
  draftSent,
  showSecret,
  toast,
  open: (id) => {
    const found = dialog(id);
    if (found && !found.open) found.showModal();
  },
  close: (id) => dialog(id)?.close(),
  reveal: (id) => document.getElementById(id)?.scrollIntoView({ block: "nearest" }),
  door: () => location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`),
  fields: (selector) => Object.fromEntries(new FormData(document.querySelector(selector))),
  clear: (selector) => document.querySelector(selector)?.reset(),
  focus: (selector) => requestAnimationFrame(() => document.querySelector(selector)?.focus()),
};

const effectiveTheme = () =>
  document.documentElement.dataset.theme ??
  (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) window.zoetrope.open(opener.dataset.opens);

  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog")?.close();

  const copier = event.target.closest("[data-copies]");
  if (copier) {
    navigator.clipboard?.writeText(copier.dataset.copies).then(
      () => toast({ text: copier.dataset.copied ?? "Copied" }),
      () => toast({ text: "This browser does not let pages copy. Select the text instead.", tone: "bad" }),
    );
  }

  if (event.target.closest("[data-theme-toggle]")) {
    const next = effectiveTheme() === "dark" ? "light" : "dark";
    document.documentElement.dataset.theme = next;
    try {
      localStorage.setItem("zoetrope.theme", next);
    } catch {
      // Not kept past this page; nothing else is lost.
    }
  }

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

watchForms();
watchKeys();
document.documentElement.dataset.ready = "";
