// The composer's life in the browser: the draft is kept until it is sent, the prompt field grows, an image is dropped.

const KEPT = "zoetrope.draft";

/** After the page has drawn what the server just sent: the controls of a model are there then. Never waits long. */
const drawn = () =>
  new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done, 0));
    setTimeout(done, 120);
  });
const form = () => document.querySelector("form[data-composer]");
const newKey = () =>
  crypto.randomUUID?.() ?? Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");

/** The composer's fields, once its controls are drawn. */
export async function draftWhenDrawn() {
  await drawn();
  return draft();
}

/** The composer's fields as they stand. */
export function draft() {
  const found = form();
  return found ? Object.fromEntries(new FormData(found)) : {};
}

function keep() {
  const { image_id: _image, idempotency_key: _key, ...fields } = draft();
  try {
    localStorage.setItem(KEPT, JSON.stringify(fields));
  } catch {
    // Storage is closed: the draft lives as long as the page.
  }
}

function grow(field) {
  if (CSS.supports("field-sizing", "content")) return;
  field.style.height = "auto";
  field.style.height = `${field.scrollHeight}px`;
}

function count(found) {
  const prompt = found.elements.prompt;
  const left = Number(prompt.dataset.most || 0) - prompt.value.length;
  const room = found.querySelector("[data-left]");
  if (room) room.textContent = left < 100 ? `${left} characters left` : "";
  found.toggleAttribute("data-empty", !prompt.value.trim());
}

/** Put values into the composer: {prompt, model, size, seconds, steps, seed, negative_prompt}. Unknown ones are left. */
export function fillDraft(fields) {
  const found = form();
  if (!found) return;
  for (const [name, value] of Object.entries(fields ?? {})) {
    const control = found.elements.namedItem(name);
    if (!control || value === null || value === undefined) continue;
    if (control instanceof RadioNodeList) {
      for (const radio of control) radio.checked = radio.value === String(value);
    } else if (control.type === "radio") {
      control.checked = control.value === String(value);
    } else {
      control.value = String(value);
      if (control.tagName === "TEXTAREA") grow(control);
      control.dispatchEvent(new Event("z-filled"));
    }
  }
  const more = found.querySelector("details.more");
  if (more && (fields?.seed || fields?.negative_prompt)) more.open = true;
  keep();
  count(found);
}

/** Bring the kept draft back, and put `fields` over it, once the controls are there. */
export async function restoreDraft(fields = {}) {
  await drawn();
  const found = form();
  if (!found) return;
  if (!found.elements.idempotency_key.value) found.elements.idempotency_key.value = newKey();
  try {
    fillDraft({ ...JSON.parse(localStorage.getItem(KEPT) ?? "{}"), ...fields });
  } catch {
    localStorage.removeItem(KEPT);
  }
  count(found);
}

/** The draft became a job: clear the words, keep the settings, and be ready for another job. */
export function draftSent() {
  const found = form();
  if (!found) return;
  found.elements.prompt.value = "";
  grow(found.elements.prompt);
  found.elements.idempotency_key.value = newKey();
  found.querySelector("z-drop")?.clear();
  keep();
  count(found);
}

document.addEventListener("input", (event) => {
  const found = event.target.closest?.("form[data-composer]");
  if (!found) return;
  if (event.target.tagName === "TEXTAREA") grow(event.target);
  // Another wish is another job: the key of the last try must not answer for it.
  found.elements.idempotency_key.value = newKey();
  keep();
  count(found);
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) {
    event.target.closest?.("form[data-composer]")?.requestSubmit();
  }
});

document.addEventListener("click", (event) => {
  const example = event.target.closest("[data-example]");
  if (example) {
    fillDraft({ prompt: example.dataset.example });
    form()?.elements.prompt.focus();
  }
  if (event.target.closest("[data-dice]")) {
    fillDraft({ seed: crypto.getRandomValues(new Uint32Array(1))[0] % 2147483647 });
  }
});

/** <z-drop most="bytes">: drop, paste or choose a first frame; it goes to the server at once, and its id into the form. */
class DropElement extends HTMLElement {
  static types = ["image/png", "image/jpeg", "image/webp"];

  connectedCallback() {
    if (this.field) return;
    this.innerHTML = `
      <input type="hidden" name="image_id" value="">
      <label class="drop">
        <input type="file" class="off-screen" accept="${DropElement.types.join(",")}">
        <svg class="icon" aria-hidden="true"><use href="/icons.svg#image"></use></svg>
        <span class="drop-words">First frame</span>
        <img alt="The first frame you gave" hidden>
      </label>
      <button type="button" class="icon-button drop-clear" aria-label="Remove the image" hidden>
        <svg class="icon" aria-hidden="true"><use href="/icons.svg#close"></use></svg>
      </button>
      <p class="drop-note" role="status"></p>`;
    this.field = this.querySelector("[name=image_id]");
    this.file = this.querySelector("[type=file]");
    this.image = this.querySelector("img");
    this.note = this.querySelector(".drop-note");
    this.remove_ = this.querySelector(".drop-clear");
    this.file.addEventListener("change", () => this.take(this.file.files[0]));
    this.remove_.addEventListener("click", () => {
      this.clear();
      this.file.focus();
    });
    for (const name of ["dragenter", "dragover"]) {
      this.addEventListener(name, (event) => {
        event.preventDefault();
        this.dataset.over = "";
      });
    }
    for (const name of ["dragleave", "drop"]) this.addEventListener(name, () => delete this.dataset.over);
    this.addEventListener("drop", (event) => {
      event.preventDefault();
      this.take(event.dataTransfer.files[0]);
    });
    this.pasting = (event) => {
      const image = [...(event.clipboardData?.files ?? [])].find((file) => file.type.startsWith("image/"));
      if (image) this.take(image);
    };
    document.addEventListener("paste", this.pasting);
  }

  disconnectedCallback() {
    document.removeEventListener("paste", this.pasting);
    if (this.shown) URL.revokeObjectURL(this.shown);
  }

  clear(note = "") {
    this.sending?.abort();
    this.field.value = "";
    this.file.value = "";
    this.image.hidden = true;
    this.remove_.hidden = true;
    delete this.dataset.state;
    this.note.textContent = note;
    this.dispatchEvent(new Event("input", { bubbles: true }));
  }

  async take(file) {
    if (!file) return;
    const most = Number(this.getAttribute("most")) || 20 * 1024 * 1024;
    if (!DropElement.types.includes(file.type)) return this.clear("PNG, JPEG or WebP, please.");
    if (file.size > most) return this.clear(`Larger than ${Math.round(most / 1048576)} MB.`);
    this.clear();
    if (this.shown) URL.revokeObjectURL(this.shown);
    this.shown = URL.createObjectURL(file);
    this.image.src = this.shown;
    this.image.hidden = false;
    this.remove_.hidden = false;
    this.dataset.state = "sending";
    this.sending = new AbortController();
    const body = new FormData();
    body.append("file", file);
    try {
      const answer = await fetch("/uploads", {
        method: "POST",
        body,
        headers: { "X-Zoetrope": "1" },
        signal: this.sending.signal,
      });
      const said = await answer.json().catch(() => ({}));
      if (!answer.ok) return this.clear(said.error?.message ?? "The image was not accepted.");
      this.field.value = said.id;
      this.dataset.state = "there";
      this.dispatchEvent(new Event("input", { bubbles: true }));
    } catch (error) {
      if (error.name !== "AbortError") this.clear("The image did not arrive. Try again when the network is back.");
    }
  }
}

customElements.define("z-drop", DropElement);
