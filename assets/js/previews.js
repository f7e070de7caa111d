// A preview that is gone when it is asked for leaves the one before it in its place. An <img> shows one job's alone.

document.addEventListener(
  "load",
  ({ target }) => {
    if (target.matches?.("img[data-preview]")) target.dataset.seen = target.src;
  },
  true,
);
document.addEventListener(
  "error",
  ({ target }) => {
    if (!target.matches?.("img[data-preview]")) return;
    const { seen } = target.dataset;
    if (seen && seen !== target.src) target.src = seen;
    else target.removeAttribute("data-seen");
  },
  true,
);
