// A new API key: it goes from the event straight into the page, and is in no state that the server keeps of a tab.

const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));
const MOST_FRAMES = 300;

/** Put the key wherever the page has room for it: `{key}` in [data-secret] as text, in [data-secret-copies] to copy. */
export async function showSecret(secret) {
  for (let frame = 0; frame < MOST_FRAMES && !document.querySelector("[data-secret]"); frame += 1) await nextFrame();
  const filled = (template) => template.replaceAll("{key}", () => secret);
  for (const room of document.querySelectorAll("[data-secret]")) room.textContent = filled(room.dataset.secret);
  for (const copier of document.querySelectorAll("[data-secret-copies]")) {
    copier.dataset.copies = filled(copier.dataset.secretCopies);
  }
  document.querySelector("#new-secret")?.focus();
}
