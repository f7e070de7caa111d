// The way back from a clip to the wall that it was opened on: to its place there, with the focus on its tile.

const MOST_FRAMES = 300;

/** Where a tile was opened: the address, its place in the tab's history, which tile, and how far the page was scrolled. */
let left = null;

const here = () => location.pathname + location.search;
// React Router counts the entries of the tab's history.
const place = () => history.state?.idx;

function note(event) {
  const link = event.target.closest?.("[data-tile] a[data-tile-link][href]");
  if (!link || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  left = { address: here(), place: place(), tile: link.closest("[data-tile]").dataset.tile, scrolled: scrollY };
}

/** A link back to the gallery goes to where one came from, however many neighbours were looked at since. */
function goBack(event) {
  const link = event.target.closest?.("[data-page-verb=back]");
  if (!link || left === null || event.metaKey || event.ctrlKey || event.shiftKey) return;
  const steps = left.place - place();
  if (!(steps < 0) || new URL(link.href).pathname !== left.address.split("?")[0]) return;
  event.preventDefault();
  event.stopPropagation();
  history.go(steps);
}

function comeBack() {
  if (left === null || here() !== left.address || place() !== left.place) return;
  const { tile, scrolled } = left;
  left = null;
  const until = new AbortController();
  // Who goes on meanwhile is not pulled back.
  for (const name of ["pointerdown", "keydown", "wheel", "popstate"]) {
    addEventListener(name, () => until.abort(), { signal: until.signal, capture: true, passive: true });
  }
  const look = (framesLeft) => {
    if (until.signal.aborted || !framesLeft) return until.abort();
    const link = document.querySelector(`[data-tile="${CSS.escape(tile)}"] [data-tile-link]`);
    // A wall has its height once it is laid.
    if (!link || link.closest("z-wall:not([data-laid])")) return requestAnimationFrame(() => look(framesLeft - 1));
    until.abort();
    scrollTo({ top: scrolled, behavior: "instant" });
    link.focus({ preventScroll: true });
  };
  requestAnimationFrame(() => look(MOST_FRAMES));
}

export function watchWayBack() {
  addEventListener("click", note, true);
  addEventListener("click", goBack, true);
  addEventListener("popstate", comeBack);
}
