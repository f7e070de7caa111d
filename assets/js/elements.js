// Small custom elements. The server sets their attributes; they own what is inside them.

const SVG = "http://www.w3.org/2000/svg";
const calmly = matchMedia("(prefers-reduced-motion: reduce)");

/** <z-time datetime="ISO 8601">: "3 min ago", kept true; the exact time on demand. */
class TimeElement extends HTMLElement {
  static observedAttributes = ["datetime"];
  static relative = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "short" });
  static exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

  connectedCallback() {
    this.timer = setInterval(() => this.say(), 20000);
    this.say();
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  attributeChangedCallback() {
    if (this.isConnected) this.say();
  }

  say() {
    const at = new Date(this.getAttribute("datetime") ?? "");
    if (Number.isNaN(at.getTime())) {
      this.textContent = "";
      return;
    }
    const seconds = (at.getTime() - Date.now()) / 1000;
    const past = Math.abs(seconds);
    const { relative, exact } = TimeElement;
    this.title = exact.format(at);
    if (past < 45) this.textContent = seconds > 0 ? "in a moment" : "just now";
    else if (past < 3570) this.textContent = relative.format(Math.round(seconds / 60), "minute");
    else if (past < 84600) this.textContent = relative.format(Math.round(seconds / 3600), "hour");
    else if (past < 30 * 86400) this.textContent = relative.format(Math.round(seconds / 86400), "day");
    else this.textContent = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" }).format(at);
  }
}

/** <z-ring value="0-100" still>: progress as a ring of slits; the one at work glows. */
class RingElement extends HTMLElement {
  static observedAttributes = ["value", "idle"];
  static slits = 24;

  connectedCallback() {
    if (!this.firstChild) {
      const svg = document.createElementNS(SVG, "svg");
      svg.setAttribute("viewBox", "-24 -24 48 48");
      svg.setAttribute("aria-hidden", "true");
      for (let i = 0; i < RingElement.slits; i += 1) {
        const slit = document.createElementNS(SVG, "line");
        slit.setAttribute("y1", "-15");
        slit.setAttribute("y2", "-22");
        slit.setAttribute("transform", `rotate(${(i * 360) / RingElement.slits})`);
        svg.append(slit);
      }
      this.append(svg);
    }
    this.show();
  }

  attributeChangedCallback() {
    if (this.firstChild) this.show();
  }

  show() {
    const value = Math.min(100, Math.max(0, Number(this.getAttribute("value")) || 0));
    const lit = Math.floor((value / 100) * RingElement.slits);
    const idle = this.getAttribute("idle") === "true";
    [...this.firstChild.children].forEach((slit, i) => {
      slit.setAttribute("class", i < lit ? "lit" : i === lit && !idle && value < 100 ? "next" : "");
    });
  }
}

/** <z-clip src poster always>: a poster that plays while its tile is pointed at or holds the focus; with `always`,
 * for as long as it is there. */
class ClipElement extends HTMLElement {
  static observedAttributes = ["src", "poster"];

  connectedCallback() {
    this.tile = this.closest("[data-tile]") ?? this;
    this.events = new AbortController();
    this.drawPoster();
    const start = () => calmly.matches || this.play();
    if (this.hasAttribute("always")) {
      start();
      return;
    }
    const { signal } = this.events;
    this.tile.addEventListener("pointerenter", (event) => event.pointerType !== "touch" && start(), { signal });
    this.tile.addEventListener("pointerleave", () => this.tile.matches(":has(:focus-visible)") || this.stop(), { signal });
    // A focus that came with a press of a pointer says nothing of wanting to see it move.
    this.tile.addEventListener("focusin", ({ target }) => target.matches(":focus-visible") && start(), { signal });
    this.tile.addEventListener("focusout", (event) => {
      if (!this.tile.contains(event.relatedTarget)) this.stop();
    }, { signal });
  }

  disconnectedCallback() {
    this.events?.abort();
    this.stop();
  }

  attributeChangedCallback(name, before, after) {
    if (!this.isConnected || before === after) return;
    if (name === "poster") this.drawPoster();
    // A tile that now shows another clip must not go on playing the one before.
    else if (this.video) {
      this.stop();
      if (this.hasAttribute("always")) this.play();
    }
  }

  drawPoster() {
    const source = this.getAttribute("poster");
    if (!source) return;
    // On a wall most are out of sight; alone, it takes the place of something that was just seen.
    const loading = this.closest("z-wall") ? "lazy" : "eager";
    this.image ??= Object.assign(document.createElement("img"), { alt: "", loading, decoding: "async" });
    this.image.src = source;
    if (!this.image.isConnected) this.prepend(this.image);
  }

  play() {
    const source = this.getAttribute("src");
    if (!source || this.video) return;
    this.video = Object.assign(document.createElement("video"), { muted: true, loop: true, playsInline: true });
    this.video.tabIndex = -1;
    this.video.setAttribute("aria-hidden", "true");
    this.video.src = source;
    this.video.addEventListener("playing", () => this.video?.classList.add("seen"), { once: true });
    this.append(this.video);
    this.video.play().catch(() => this.stop());
  }

  stop() {
    this.video?.remove();
    this.video = undefined;
  }

  toggle() {
    if (this.video) this.stop();
    else this.play();
  }
}

/** <z-wall rows="all | whole">: tiles ([data-tile], --grow: width over height) in rows of one height. --row is the height wanted, in rem. The
 * last row is as high as the others, so that few tiles are as large as many; of "whole" rows it is hidden unless it is
 * full, or the only one. */
class WallElement extends HTMLElement {
  connectedCallback() {
    this.sized = new ResizeObserver(() => this.clientWidth !== this.laid && this.lay());
    this.sized.observe(this);
    this.changed = new MutationObserver(() => this.lay());
    this.changed.observe(this, { childList: true, subtree: true, attributeFilter: ["data-tile", "rows"] });
    this.lay();
  }

  disconnectedCallback() {
    this.sized?.disconnect();
    this.changed?.disconnect();
  }

  lay() {
    const width = this.clientWidth;
    const tiles = [...this.children].filter((tile) => tile.dataset.tile !== undefined);
    if (!width || !tiles.length) return;
    this.laid = width;
    const style = getComputedStyle(this);
    const gap = parseFloat(style.columnGap) || 0;
    const rem = parseFloat(getComputedStyle(document.documentElement).fontSize);
    const wanted = parseFloat(style.getPropertyValue("--row")) * rem || 200;
    const shape = (tile) => parseFloat(tile.style.getPropertyValue("--grow")) || 1;
    const height = (shapes) => (width - gap * (shapes.length - 1)) / shapes.reduce((sum, each) => sum + each, 0);
    const set = (row, high) => {
      for (const tile of row) {
        tile.style.setProperty("--w", `${Math.floor(shape(tile) * high * 50) / 50}px`);
        tile.style.setProperty("--h", `${Math.floor(high * 50) / 50}px`);
      }
    };

    for (const tile of tiles) tile.hidden = false;
    let row = [];
    let last = 0;
    for (const tile of tiles) {
      const longer = [...row, tile];
      const before = row.length ? height(row.map(shape)) : Infinity;
      const after = height(longer.map(shape));
      if (after > wanted) {
        row = longer;
      } else if (wanted - after <= before - wanted) {
        set(longer, (last = after));
        row = [];
      } else {
        set(row, (last = before));
        row = [tile];
      }
    }
    if (row.length && last && this.getAttribute("rows") === "whole") {
      for (const tile of row) tile.hidden = true;
    } else if (row.length) {
      const shapes = row.map(shape);
      const mean = shapes.reduce((sum, each) => sum + each, 0) / shapes.length;
      const across = Math.max(1, Math.round((width + gap) / (mean * wanted + gap)));
      set(row, Math.min(last || height(Array(across).fill(mean)), height(shapes)));
    }
    this.dataset.laid = "";
  }
}

customElements.define("z-wall", WallElement);
customElements.define("z-time", TimeElement);
customElements.define("z-ring", RingElement);
customElements.define("z-clip", ClipElement);
