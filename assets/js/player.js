// <z-player src poster fps frames label>: a player that thinks in frames. Its scrubber is a row of slits, one a frame
// while they fit. When a signed URL ends it asks the page for a new one and goes on where it was.

const MOST_SLITS = 96;
const RENEW_AT_MOST_EVERY_MS = 4000;
const SPEEDS = [0.25, 0.5, 1, 2];

const icon = (name) => `<svg class="icon" aria-hidden="true"><use href="/icons.svg#${name}"></use></svg>`;

class PlayerElement extends HTMLElement {
  static observedAttributes = ["src", "poster"];

  connectedCallback() {
    if (!this.video) this.build();
    this.load();
  }

  disconnectedCallback() {
    cancelAnimationFrame(this.clock);
    this.video?.pause();
  }

  attributeChangedCallback(name, before, after) {
    if (!this.video || before === after) return;
    if (name === "src") this.load();
    else this.video.poster = after ?? "";
  }

  // React sets a property where the element has one of an attribute's name: these must not be called fps and frames.
  get rateOfFrames() {
    return Number(this.getAttribute("fps")) || 24;
  }

  get frameCount() {
    return Math.max(1, Number(this.getAttribute("frames")) || Math.round((this.video.duration || 1) * this.rateOfFrames));
  }

  get frame() {
    return Math.min(this.frameCount - 1, Math.floor(this.video.currentTime * this.rateOfFrames + 0.001));
  }

  build() {
    this.innerHTML = `
      <div class="player-screen"><video playsinline muted loop></video><p class="player-trouble" role="status"></p></div>
      <div class="player-slits" role="slider" tabindex="0" aria-label="Frame"></div>
      <div class="player-bar">
        <button type="button" data-do="back" class="icon-button" aria-label="One frame back" title="One frame back  ,">${icon("back")}</button>
        <button type="button" data-do="play" class="icon-button player-play" aria-label="Play" title="Play or pause  space"></button>
        <button type="button" data-do="forward" class="icon-button" aria-label="One frame forward" title="One frame forward  .">${icon("forward")}</button>
        <output class="player-count" aria-live="off"></output>
        <span class="player-gap"></span>
        <button type="button" data-do="speed" class="player-speed" title="Speed"></button>
        <button type="button" data-do="loop" class="icon-button" aria-pressed="true" aria-label="Loop" title="Loop  l">${icon("loop")}</button>
        <button type="button" data-do="fill" class="icon-button" aria-label="Full screen" title="Full screen  ↵">${icon("expand")}</button>
      </div>`;
    this.video = this.querySelector("video");
    this.slits = this.querySelector(".player-slits");
    this.trouble = this.querySelector(".player-trouble");
    this.video.setAttribute("aria-label", this.getAttribute("label") ?? "Clip");

    const doing = {
      play: () => this.toggle(),
      back: () => this.step(-1),
      forward: () => this.step(1),
      loop: () => this.loop(),
      speed: () => this.speed(),
      fill: () => this.fill(),
    };
    this.addEventListener("click", (event) => {
      const button = event.target.closest("[data-do]");
      if (button) doing[button.dataset.do]();
      else if (event.target === this.video) this.toggle();
    });
    this.slits.addEventListener("keydown", (event) => this.slideByKey(event));
    this.slits.addEventListener("pointerdown", (event) => {
      this.slits.setPointerCapture(event.pointerId);
      this.slideTo(event);
    });
    this.slits.addEventListener("pointermove", (event) => {
      if (this.slits.hasPointerCapture(event.pointerId)) this.slideTo(event);
    });

    for (const name of ["play", "pause", "ended"]) this.video.addEventListener(name, () => this.show());
    for (const name of ["seeked", "loadeddata"]) this.video.addEventListener(name, () => this.showFrame());
    this.video.addEventListener("loadedmetadata", () => this.resume());
    this.video.addEventListener("error", () => this.renew());
    this.video.addEventListener("playing", () => {
      this.trouble.textContent = "";
      this.follow();
    });
    this.showSpeed();
    this.show();
  }

  load() {
    const source = this.getAttribute("src");
    if (!source || source === this.loaded) return;
    this.keep = this.loaded
      ? { at: this.video.currentTime || this.lastAt || 0, playing: this.wanted ?? false }
      : { at: 0, playing: !matchMedia("(prefers-reduced-motion: reduce)").matches };
    this.loaded = source;
    this.video.poster = this.getAttribute("poster") ?? "";
    this.video.src = source;
  }

  resume() {
    this.drawSlits();
    const { at = 0, playing = false } = this.keep ?? {};
    this.keep = undefined;
    if (at) this.video.currentTime = at;
    this.video.playbackRate = SPEEDS[this.rate ?? 2];
    if (playing) this.video.play().catch(() => {});
    this.showFrame();
  }

  renew() {
    const now = performance.now();
    if (now - (this.asked ?? -Infinity) < RENEW_AT_MOST_EVERY_MS) {
      this.trouble.textContent = "This clip cannot be reached just now. Reload the page to try again.";
      return;
    }
    this.asked = now;
    this.trouble.textContent = "Fetching the clip again";
    this.keep = { at: this.video.currentTime || this.lastAt || 0, playing: this.wanted ?? !this.video.paused };
    // The page asks whether the clip may still be seen; its address gives a fresh URL when it is asked anew.
    document.querySelector("[data-verb='renew']")?.click();
    const address = new URL(this.getAttribute("src"), location.href);
    address.searchParams.set("again", String((this.times = (this.times ?? 0) + 1)));
    this.video.src = address.href;
  }

  toggle() {
    this.wanted = this.video.paused;
    if (this.video.paused) this.video.play().catch(() => {});
    else this.video.pause();
  }

  step(by) {
    this.wanted = false;
    this.video.pause();
    this.seek((this.frame + by + this.frameCount) % this.frameCount);
  }

  seek(frame) {
    // The middle of a frame: its edges belong to two frames, by rounding.
    this.video.currentTime = (frame + 0.5) / this.rateOfFrames;
    this.showFrame(frame);
  }

  loop() {
    this.video.loop = !this.video.loop;
    this.querySelector("[data-do='loop']").setAttribute("aria-pressed", String(this.video.loop));
  }

  /** The whole screen, with the scrubber; on phones that give it to videos alone, the video. */
  fill() {
    if (document.fullscreenElement) document.exitFullscreen();
    else if (this.requestFullscreen) this.requestFullscreen().catch(() => {});
    else this.video.webkitEnterFullscreen?.();
  }

  /** Stop at a moment, in seconds. */
  showAt(seconds) {
    this.wanted = false;
    this.video.pause();
    this.seek(Math.min(this.frameCount - 1, Math.round(seconds * this.rateOfFrames)));
  }

  speed() {
    this.rate = ((this.rate ?? 2) + 1) % SPEEDS.length;
    this.video.playbackRate = SPEEDS[this.rate];
    this.showSpeed();
  }

  showSpeed() {
    const speed = SPEEDS[this.rate ?? 2];
    const button = this.querySelector("[data-do='speed']");
    button.textContent = `${speed === 0.25 ? "¼" : speed === 0.5 ? "½" : speed}×`;
    button.setAttribute("aria-label", `Speed ${speed}`);
  }

  slideTo(event) {
    const { left, width } = this.slits.getBoundingClientRect();
    const share = Math.min(0.999, Math.max(0, (event.clientX - left) / width));
    this.wanted = false;
    this.video.pause();
    this.seek(Math.floor(share * this.frameCount));
  }

  slideByKey(event) {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageUp: 8, PageDown: -8 }[event.key];
    if (by) this.step(by);
    else if (event.key === "Home") this.seek(0);
    else if (event.key === "End") this.seek(this.frameCount - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  drawSlits() {
    const count = Math.min(this.frameCount, MOST_SLITS);
    if (this.slits.children.length === count) return;
    this.slits.replaceChildren(...Array.from({ length: count }, () => document.createElement("i")));
    this.slits.setAttribute("aria-valuemin", "1");
    this.slits.setAttribute("aria-valuemax", String(this.frameCount));
  }

  follow() {
    cancelAnimationFrame(this.clock);
    const tick = () => {
      this.showFrame();
      if (!this.video.paused) this.clock = requestAnimationFrame(tick);
    };
    tick();
  }

  show() {
    const button = this.querySelector("[data-do='play']");
    const paused = this.video.paused;
    button.innerHTML = icon(paused ? "play" : "pause");
    button.setAttribute("aria-label", paused ? "Play" : "Pause");
  }

  showFrame(frame = this.frame) {
    if (!this.slits.children.length) return;
    this.lastAt = this.video.currentTime;
    const lit = Math.floor((frame / this.frameCount) * this.slits.children.length);
    if (lit !== this.lit) {
      [...this.slits.children].forEach((slit, i) => {
        slit.className = i < lit ? "past" : i === lit ? "now" : "";
      });
      this.lit = lit;
    }
    const said = `frame ${frame + 1} of ${this.frameCount}`;
    this.slits.setAttribute("aria-valuenow", String(frame + 1));
    this.slits.setAttribute("aria-valuetext", said);
    this.querySelector(".player-count").innerHTML = `<span>frame </span>${frame + 1} of ${this.frameCount}`;
  }
}

customElements.define("z-player", PlayerElement);
