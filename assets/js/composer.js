// The composer's life in the browser: the draft is kept until it is sent, the prompt field grows, an image is dropped.

import { isAway } from "./connection.js";

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
  const { idempotency_key: _key, ...fields } = draft();
  try {
    localStorage.setItem(KEPT, JSON.stringify(fields));
  } catch {
    // Storage is closed: the draft lives as long as the page.
  }
}

/** Write into a field as typing does, so that the page hears of it. */
function write(field, value) {
  Object.getOwnPropertyDescriptor(Object.getPrototypeOf(field), "value").set.call(field, value);
  field.dispatchEvent(new Event("input", { bubbles: true }));
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
  sayWhatIsSet(found);
  markWords(prompt.value);
}

/** Beside "More": which of the settings behind it are not as usual. */
function sayWhatIsSet(found) {
  const room = found.querySelector("[data-more-set]");
  if (!room) return;
  const { steps, seed, guidance, negative_prompt: without } = found.elements;
  const set = [];
  if (steps?.value && steps.value !== steps.placeholder) set.push(`${steps.value} steps`);
  if (seed?.value) set.push(`seed ${seed.value}`);
  if (guidance?.value && guidance.value !== guidance.placeholder) set.push(`guidance ${guidance.value}`);
  if (without?.value.trim()) set.push(`without ${without.value.trim().slice(0, 24)}`);
  room.textContent = set.map((each) => ` · ${each}`).join("");
}

// Words that a model knows, as buttons: one of each kind makes the model's sentence.

/** Which word of each slot a prompt has: {colour: "red", background: "blue"}. */
function wordsIn(prompt) {
  let text = ` ${prompt.toLowerCase().replace(/[^a-z]+/g, " ")} `;
  const found = {};
  const take = (slot, pattern) => {
    for (const button of document.querySelectorAll(`[data-slot="${slot}"]`)) {
      const { word } = button.dataset;
      if (!found[slot] && text.includes(pattern(word))) {
        found[slot] = word;
        text = text.replace(pattern(word), " ");
      }
    }
  };
  take("background", (word) => ` ${word} background `);
  for (const slot of new Set([...document.querySelectorAll("[data-slot]")].map((button) => button.dataset.slot))) {
    if (slot !== "background") take(slot, (word) => ` ${word} `);
  }
  return found;
}

function markWords(prompt) {
  const words = wordsIn(prompt);
  for (const button of document.querySelectorAll("[data-slot]")) {
    button.setAttribute("aria-pressed", String(words[button.dataset.slot] === button.dataset.word));
  }
}

/** The model's sentence with these words: segments parted by "|", slots in brackets, perhaps with a default. */
function sentenceOf(template, words) {
  const segments = template.split("|").map((segment, at) => {
    let filled = at === 0;
    const text = segment.replace(/\[(\w+)(?:=(\w+))?\]/g, (_, slot, usual = "") => {
      filled ||= Boolean(words[slot]);
      return words[slot] ?? usual;
    });
    return filled ? text : "";
  });
  return segments.join(" ").replace(/\s+/g, " ").trim().replace(/\ba (?=[aeiou])/g, "an ");
}

function useWord(button) {
  const prompt = form()?.elements.prompt;
  const template = button.closest("[data-sentence]")?.dataset.sentence;
  if (!prompt || !template) return;
  const { slot, word } = button.dataset;
  const words = wordsIn(prompt.value);
  if (words[slot] === word) delete words[slot];
  else words[slot] = word;
  rewrite(prompt, Object.keys(words).length ? sentenceOf(template, words) : "");
  button.focus();
}

/** Replace a field's words so that Ctrl Z brings them back, where that does not call up a keyboard on the screen. */
function rewrite(field, text) {
  if (matchMedia("(hover: hover)").matches) {
    field.focus();
    field.select();
    if (text ? document.execCommand("insertText", false, text) : document.execCommand("delete")) return;
  }
  write(field, text);
}

/** Put values into the composer: {prompt, model, size, seconds, steps, seed, image_id, ...}. Unknown ones are left. */
export function fillDraft({ image_id: image, ...fields }) {
  const found = form();
  if (!found) return;
  if (image !== undefined) found.querySelector("z-drop")?.show(image);
  for (const [name, value] of Object.entries(fields)) {
    const control = found.elements.namedItem(name);
    // What is hidden is no choice: the only one on offer.
    if (!control || value === null || value === undefined || control.type === "hidden") continue;
    if (control instanceof RadioNodeList) {
      const wanted = [...control].find((radio) => radio.value === String(value));
      if (wanted) wanted.checked = true;
    } else if (control.tagName === "SELECT") {
      if ([...control.options].some((option) => option.value === String(value))) control.value = String(value);
    } else {
      control.value = String(value);
      if (control.tagName === "TEXTAREA") grow(control);
    }
  }
  const more = found.querySelector("details.more");
  if (more && (fields.seed || fields.guidance || fields.negative_prompt)) more.open = true;
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

/** What was sent from a page that was left meanwhile: the draft that is kept for coming back is without it. */
function forget(sent) {
  try {
    const kept = JSON.parse(localStorage.getItem(KEPT) ?? "{}");
    for (const name of ["prompt", "seed", "image_id"]) if (kept[name] === sent[name]) kept[name] = "";
    localStorage.setItem(KEPT, JSON.stringify(kept));
  } catch {
    localStorage.removeItem(KEPT);
  }
}

/** The draft became a job: its words, seed and image were its own; the other settings stay for the next. What was
 * written since it was `sent` belongs to the next one. */
export function draftSent(sent) {
  const found = form();
  if (!found) return forget(sent);
  const now = draft();
  const goesOn = now.prompt !== sent.prompt;
  if (!goesOn) found.elements.prompt.value = "";
  if (now.seed === sent.seed) found.elements.seed.value = "";
  grow(found.elements.prompt);
  if (now.idempotency_key === sent.idempotency_key) found.elements.idempotency_key.value = newKey();
  if (sent.image_id && now.image_id === sent.image_id) found.querySelector("z-drop")?.clear();
  keep();
  count(found);
  if (goesOn) return;
  // A keyboard on the screen would hide what happens now: show that instead. With a real one, the next prompt follows.
  if (matchMedia("(hover: none), (max-width: 640px)").matches) {
    document.activeElement?.blur();
    drawn().then(() => document.getElementById("now")?.scrollIntoView({ block: "start", behavior: "smooth" }));
  } else {
    found.elements.prompt.focus();
  }
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

// What was pressed while the image was on its way: done once it has arrived, forgotten when it does not.
let afterImage = null;

function goOnAfterImage(arrived) {
  const goOn = afterImage;
  afterImage = null;
  form()?.removeAttribute("data-waits");
  if (arrived) goOn?.();
}

/** Nothing is sent without the image that is shown: while it is on its way the press waits, after a failure it is refused. */
function holdBack(event, goOn) {
  const drop = form()?.querySelector("z-drop");
  if (drop?.dataset.state !== "sending" && drop?.dataset.state !== "failed") return;
  event.preventDefault();
  event.stopImmediatePropagation();
  if (drop.dataset.state === "failed") return drop.remind();
  afterImage = goOn;
  form().setAttribute("data-waits", "");
}

/** Pressed while the connection is lost: the page keeps it, and says so for as long as the connection is. */
const sayWhetherHeld = (event) => {
  const kept = !event.defaultPrevented || form()?.hasAttribute("data-waits");
  form()?.toggleAttribute("data-held", kept && isAway());
};

// At the window, and on the way down: before the page hears of it.
addEventListener(
  "submit",
  (event) => {
    if (!event.target.matches?.("form[data-composer]")) return;
    holdBack(event, () => event.target.requestSubmit());
    sayWhetherHeld(event);
  },
  true,
);
addEventListener(
  "click",
  (event) => {
    const sender = event.target.closest?.(".composer-quicker button");
    if (!sender) return;
    holdBack(event, () => sender.click());
    sayWhetherHeld(event);
  },
  true,
);

document.addEventListener("click", (event) => {
  const example = event.target.closest("[data-example]");
  if (example) {
    write(form().elements.prompt, example.dataset.example);
    form().elements.prompt.focus();
  }
  const word = event.target.closest("[data-slot]");
  if (word) useWord(word);
  if (event.target.closest("[data-dice]")) {
    write(form().elements.seed, String(crypto.getRandomValues(new Uint32Array(1))[0] % 2147483647));
  }
});

/** <z-drop most="bytes">: drop, paste or choose a first frame; it goes to the server at once, and its id into the form. */
class DropElement extends HTMLElement {
  static types = ["image/png", "image/jpeg", "image/webp"];
  static withinMs = 180_000;
  // Signed out, too slow, too many at once: these pass.
  static passing = [401, 408, 425, 429];

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
      <p class="drop-note" role="status"></p>
      <button type="button" class="button button-plain drop-again" hidden><span>Try again</span></button>`;
    this.field = this.querySelector("[name=image_id]");
    this.file = this.querySelector("[type=file]");
    this.image = this.querySelector("img");
    this.note = this.querySelector(".drop-note");
    this.remove_ = this.querySelector(".drop-clear");
    this.retry = this.querySelector(".drop-again");
    this.image.addEventListener("error", () => {
      this.image.hidden = true;
    });
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
    this.retry.addEventListener("click", () => {
      this.remove_.focus();
      this.again?.();
    });
    this.moved = () => {
      const { again } = this;
      if (again && isAway()) this.wait(again);
      else again?.();
    };
    for (const name of ["zoetrope:away", "zoetrope:back"]) document.addEventListener(name, this.moved);
  }

  disconnectedCallback() {
    document.removeEventListener("paste", this.pasting);
    for (const name of ["zoetrope:away", "zoetrope:back"]) document.removeEventListener(name, this.moved);
    if (this.shown) URL.revokeObjectURL(this.shown);
  }

  clear() {
    this.sending?.abort();
    this.again = null;
    this.field.value = "";
    this.file.value = "";
    this.image.hidden = true;
    this.remove_.hidden = true;
    this.retry.hidden = true;
    delete this.dataset.state;
    this.note.textContent = "";
    this.changed(false);
  }

  /** No image came of it, and the form must not go without: not before another one is given, or this one removed.
   * `again`: what to do once more, where that may help; it is done by itself when the connection is back. */
  fail(note, again = null) {
    if (again && isAway()) return this.wait(again);
    this.again = again;
    this.field.value = "";
    this.remove_.hidden = false;
    this.retry.hidden = !again;
    this.dataset.state = "failed";
    this.note.textContent = note;
    this.changed(false);
  }

  /** On its way still: what is pressed meanwhile waits with it. */
  wait(again) {
    this.begin();
    this.again = again;
    this.note.textContent = "Waits until the connection is back.";
  }

  remind() {
    const ways = this.again ? "Try again, give another one or remove it" : "Give another one or remove it";
    const words = ` ${ways}; nothing was sent.`;
    if (!this.note.textContent.endsWith(words)) this.note.textContent += words;
    (this.again ? this.retry : this.remove_).focus();
  }

  arrive(id) {
    this.again = null;
    this.field.value = id;
    this.dataset.state = "there";
    this.changed(true);
  }

  changed(arrived) {
    this.dispatchEvent(new Event("input", { bubbles: true }));
    goOnAfterImage(arrived);
  }

  /** Show the picture at this address while it is on its way. */
  picture(address) {
    if (this.shown) URL.revokeObjectURL(this.shown);
    this.shown = address.startsWith("blob:") ? address : null;
    this.image.src = address;
    this.image.hidden = false;
  }

  /** It is on its way, for the first time or once more. The signal ends it: another image, or none. */
  begin() {
    this.sending?.abort();
    this.sending = new AbortController();
    this.again = null;
    this.remove_.hidden = false;
    this.retry.hidden = true;
    this.note.textContent = "";
    this.dataset.state = "sending";
    return this.sending.signal;
  }

  /** Bring back an image that was given before; nothing for none. It counts once it is seen to be still there. */
  show(id) {
    if (id === this.field.value) return;
    this.clear();
    if (id) this.fetch(id);
  }

  fetch(id) {
    const signal = this.begin();
    const address = `/uploads/${encodeURIComponent(id)}`;
    const again = () => this.fetch(id);
    if (isAway()) return this.wait(again);
    const lost = async () => {
      // Where it is kept elsewhere, being led there says that it is.
      const found = await fetch(address, { signal, redirect: "manual" }).catch(() => null);
      if (signal.aborted) return;
      if (found && found.status >= 400 && found.status < 500) this.fail("Its image is not kept any more.");
      else this.fail("Its image could not be fetched.", again);
    };
    this.image.addEventListener("load", () => this.arrive(id), { once: true, signal });
    this.image.addEventListener("error", lost, { once: true, signal });
    this.picture(address);
  }

  take(file) {
    if (!file) return;
    const most = Number(this.getAttribute("most")) || 20 * 1024 * 1024;
    this.clear();
    if (!DropElement.types.includes(file.type)) return this.fail("PNG, JPEG or WebP, please.");
    if (file.size > most) return this.fail(`Larger than ${Math.round(most / 1048576)} MB.`);
    this.picture(URL.createObjectURL(file));
    this.send(file);
  }

  async send(file) {
    const signal = this.begin();
    const again = () => this.send(file);
    if (isAway()) return this.wait(again);
    const sending = this.sending;
    const late = setTimeout(() => sending.abort(new DOMException("", "TimeoutError")), DropElement.withinMs);
    const body = new FormData();
    body.append("file", file);
    try {
      const answer = await fetch("/uploads", { method: "POST", body, headers: { "X-Zoetrope": "1" }, signal });
      const said = await answer.json().catch(() => signal.throwIfAborted() ?? {});
      signal.throwIfAborted();
      if (answer.ok && said.id) return this.arrive(said.id);
      // What was judged stays so, however often it is sent.
      const judged = answer.status >= 400 && answer.status < 500 && !DropElement.passing.includes(answer.status);
      this.fail(said.error?.message ?? "The image was not accepted.", judged ? null : again);
    } catch (error) {
      if (error.name !== "AbortError") this.fail("The image did not arrive.", again);
    } finally {
      clearTimeout(late);
    }
  }
}

customElements.define("z-drop", DropElement);
