// Keys of the rooms with many clips: they press the buttons that are on the page, so they can do nothing that those can't.

import { openDialog } from "./dialogs.js";

const typing = (target) => target.closest?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");
const tiles = () => [...document.querySelectorAll("[data-tile]")].filter((tile) => tile.offsetParent !== null);
const current = () => document.activeElement?.closest?.("[data-tile]") ?? null;

function move(by) {
  const all = tiles();
  if (!all.length) return;
  const at = all.indexOf(current());
  const to = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.min(all.length - 1, Math.max(0, at + by))];
  (to.querySelector("[data-tile-link]") ?? to).focus();
  to.scrollIntoView({ block: "nearest" });
}

/** Arrow keys: to the tile beside, or to the nearest in the row above or below. */
function moveBeside(key) {
  const from = current();
  if (!from) return false;
  if (key === "ArrowLeft" || key === "ArrowRight") {
    move(key === "ArrowRight" ? 1 : -1);
    return true;
  }
  const here = from.getBoundingClientRect();
  const middle = here.left + here.width / 2;
  const down = key === "ArrowDown";
  const others = tiles()
    .map((tile) => ({ tile, box: tile.getBoundingClientRect() }))
    .filter(({ box }) => (down ? box.top >= here.bottom - 1 : box.bottom <= here.top + 1));
  if (!others.length) return true;
  const edge = down
    ? Math.min(...others.map(({ box }) => box.top))
    : Math.max(...others.map(({ box }) => box.bottom));
  const row = others.filter(({ box }) => Math.abs((down ? box.top : box.bottom) - edge) < 2);
  const off = ({ box }) => Math.max(box.left - middle, middle - box.right, 0);
  row.sort((one, other) => off(one) - off(other));
  (row[0].tile.querySelector("[data-tile-link]") ?? row[0].tile).focus();
  row[0].tile.scrollIntoView({ block: "nearest" });
  return true;
}

// What is selected goes before the tile that has the focus, and that before the page.
const press = (verb) => {
  const button =
    document.querySelector(`[data-selection-verb="${verb}"]`) ??
    current()?.querySelector(`[data-verb="${verb}"]`) ??
    document.querySelector(`[data-page-verb="${verb}"]`);
  button?.click();
  return Boolean(button);
};

const KEYS = {
  "/": () => {
    const field = document.querySelector("[data-search]");
    field?.focus();
    field?.select();
    return Boolean(field);
  },
  j: () => move(1),
  k: () => move(-1),
  f: () => press("favourite"),
  u: () => press("use"),
  x: () => press("select"),
  d: () => press("delete"),
  a: () => press("allow"),
  b: () => press("block"),
  n: () => press("note"),
  s: () => press("skip"),
  g: () => press("grey"),
  z: () => press("undo"),
  ArrowLeft: () => moveBeside("ArrowLeft") || press("left"),
  ArrowRight: () => moveBeside("ArrowRight") || press("right"),
  ArrowUp: () => moveBeside("ArrowUp"),
  ArrowDown: () => moveBeside("ArrowDown"),
  Escape: () => !document.querySelector("details[data-menu][open]") && press("back"),
  "?": () => openDialog("keys-help"),
};

const PLAYER_KEYS = {
  ",": (p) => p.step(-1),
  ".": (p) => p.step(1),
  l: (p) => p.loop(),
  " ": (p) => p.toggle(),
  Enter: (p) => p.fill(),
};

// A held key goes on moving; it presses nothing a second time.
const MAY_REPEAT = new Set(["j", "k", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", ",", "."]);

/** The second half of a double click was meant for the case that lay there before the first. */
function decideOnce(event) {
  if (event.detail > 1 && event.target.closest?.("[data-page-verb=allow], [data-page-verb=block]")) event.stopPropagation();
}

export function watchKeys() {
  window.addEventListener("click", decideOnce, true);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // Escape leaves a field for the keys of its room.
    if (event.key === "Escape" && typing(event.target) && event.target.closest("[data-keys]")) event.target.blur();
    if (typing(event.target) || document.querySelector("dialog[open]")) return;
    if (event.repeat && !MAY_REPEAT.has(event.key)) {
      if (event.key === " " || event.key === "Enter") event.preventDefault();
      return;
    }
    const player = document.querySelector("z-player");
    const onButton = event.target.closest?.("button, a[href]:not([data-tile-link]), summary, [role=slider], label");
    if (event.key === " ") {
      if (onButton) return;
      const clip = current()?.querySelector("z-clip");
      if (clip) clip.toggle();
      else if (!press("reveal")) {
        if (!player) return;
        player.toggle();
      }
      event.preventDefault();
      return;
    }
    if (player && PLAYER_KEYS[event.key] && !(event.key === "Enter" && onButton)) {
      PLAYER_KEYS[event.key](player);
      event.preventDefault();
      return;
    }
    if (KEYS[event.key] && document.querySelector("[data-keys]")) {
      if (KEYS[event.key]() !== false) event.preventDefault();
    }
  });
}
