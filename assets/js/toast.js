// Short notices at the edge of the page, with at most one thing to do. They stay while they are looked at.

const STAY_MS = 6000;
const STAY_WITH_ACTION_MS = 10000;

/** Say something: {text, tone: "plain" | "good" | "bad", action: label}. The action presses the element that `clicks`
 * selects, or goes to `href`. `stayMs`: how long, where not as usual. A notice replaces the one of the same `name`. */
export function toast({ text, tone = "plain", action = "", clicks = "", href = "", stayMs = 0, name = "" }) {
  const room = document.getElementById("toasts");
  if (!room) return;
  const note = document.createElement("div");
  note.className = `toast toast-${tone}`;
  if (name) {
    note.dataset.name = name;
    room.querySelector(`[data-name="${CSS.escape(name)}"]`)?.remove();
  }
  const words = document.createElement("span");
  words.textContent = text;
  note.append(words);
  const leave = () => {
    note.classList.add("leaving");
    setTimeout(() => note.remove(), 200);
  };
  if (action && href) {
    const link = Object.assign(document.createElement("a"), { href, textContent: action });
    note.append(link);
  } else if (action) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = action;
    button.addEventListener("click", () => {
      document.querySelector(clicks)?.click();
      leave();
    });
    note.append(button);
  }
  room.append(note);
  while (room.children.length > 3) room.firstElementChild.remove();

  let timer = 0;
  const stay = () => clearTimeout(timer);
  const count = () => {
    stay();
    timer = setTimeout(leave, stayMs || (action ? STAY_WITH_ACTION_MS : STAY_MS));
  };
  note.addEventListener("pointerenter", stay);
  note.addEventListener("focusin", stay);
  note.addEventListener("pointerleave", count);
  note.addEventListener("focusout", count);
  count();
}
