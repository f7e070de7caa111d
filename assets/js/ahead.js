// The code of the other pages, read while this one is idle: a page that is gone to needs no server then. Where its code
// does not come, React Router loads the whole studio anew, and without a connection the browser shows an error instead.

const AGAIN_MS = 10000;
const MOST_TRIES = 6;

const whenIdle = (act) => (window.requestIdleCallback ? requestIdleCallback(act) : setTimeout(act, 500));

async function readPages(tries = 1) {
  const pages = Object.values(window.__reactRouterManifest?.routes ?? {});
  const read = await Promise.allSettled(pages.map(({ module }) => import(module)));
  const missed = !pages.length || read.some(({ status }) => status === "rejected");
  if (missed && tries < MOST_TRIES) setTimeout(() => readPages(tries + 1), AGAIN_MS);
}

export function readPagesAhead() {
  if (document.readyState === "complete") whenIdle(() => readPages());
  else addEventListener("load", () => whenIdle(() => readPages()), { once: true });
}
