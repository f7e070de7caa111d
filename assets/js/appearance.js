// Light, dark, or as the system has it. The choice is kept in this browser; theme.js applies it before the first paint.

const KEPT = "zoetrope.theme";

const chosen = () => document.documentElement.dataset.theme ?? "system";
const seen = () =>
  document.documentElement.dataset.theme ?? (matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");

function choose(theme) {
  if (theme === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  try {
    if (theme === "system") localStorage.removeItem(KEPT);
    else localStorage.setItem(KEPT, theme);
  } catch {
    // Not kept past this page; nothing else is lost.
  }
  document.dispatchEvent(new Event("z-theme"));
}

/** The other one of light and dark. */
export const switchTheme = () => choose(seen() === "dark" ? "light" : "dark");

/** <z-theme>: chips with a choice each (data-theme-choice); the one in force is pressed. */
class ThemeElement extends HTMLElement {
  connectedCallback() {
    this.show = () => {
      for (const chip of this.children) {
        chip.setAttribute("aria-pressed", String(chip.dataset.themeChoice === chosen()));
      }
    };
    this.onclick = (event) => {
      const chip = event.target.closest("[data-theme-choice]");
      if (chip) choose(chip.dataset.themeChoice);
    };
    document.addEventListener("z-theme", this.show);
    this.show();
  }

  disconnectedCallback() {
    document.removeEventListener("z-theme", this.show);
  }
}

customElements.define("z-theme", ThemeElement);
