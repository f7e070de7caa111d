// Short notices at the edge of the page, with at most one thing to do. They stay while they are looked at.

const STAY_MS = 6000;
const STAY_WITH_ACTION_MS = 10000;

/** Say something: {text, tone: "plain" | "good" | "bad", action: label, clicks: selector of the button to press}. */
export function toast({ text, tone = "plain", action = "", clicks = "" }) {
  const room = document.getElementById("toasts");
  if (!room) return;
  const note = document.createElement("div");
  note.className = `toast toast-${tone}`;
  const words = document.createElement("span");
  words.textContent = text;
  note.append(words);
  const leave = () => {
    note.classList.add("leaving");
    setTimeout(() => note.remove(), 200);
  };
  if (action) {
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
    timer = setTimeout(leave, action ? STAY_WITH_ACTION_MS : STAY_MS);
  };
  note.addEventListener("pointerenter", stay);
  note.addEventListener("focusin", stay);
  note.addEventListener("pointerleave", count);
  note.addEventListener("focusout", count);
  count();
}
