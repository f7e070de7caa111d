// Whether the studio can be heard. What says that it cannot, <z-away>, is there for just as long: Reflex puts it up when
// the event socket is down. Others ask `isAway`, or listen for "zoetrope:away" and "zoetrope:back" at the document.

const root = document.documentElement;
let heardAt = Date.now();

// Not by navigator.onLine: a studio on one's own machine is there without any network.
export const isAway = () => root.dataset.away !== undefined;

function tell() {
  const away = document.querySelector("z-away") !== null;
  if (away === isAway()) return;
  root.toggleAttribute("data-away", away);
  document.dispatchEvent(new Event(away ? "zoetrope:away" : "zoetrope:back"));
}

addEventListener("online", () => {
  if (!isAway()) document.dispatchEvent(new Event("zoetrope:back"));
});

/** <z-away>: there for as long as the connection is lost. */
class AwayElement extends HTMLElement {
  connectedCallback() {
    tell();
  }

  disconnectedCallback() {
    queueMicrotask(tell);
  }
}

/** <z-heard beat>: another beat is another reading that came from the studio. */
class HeardElement extends HTMLElement {
  static observedAttributes = ["beat"];
  static last = "";

  attributeChangedCallback(_name, _before, beat) {
    // A page that is drawn again while the connection is lost brings the last one along: nothing was heard then.
    if (beat === HeardElement.last) return;
    HeardElement.last = beat;
    heardAt = Date.now();
  }
}

/** <z-last-seen>: how long ago that was, "12 s ago", kept true. */
class LastSeenElement extends HTMLElement {
  connectedCallback() {
    this.timer = setInterval(() => this.say(), 1000);
    this.say();
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  say() {
    const seconds = Math.max(1, Math.round((Date.now() - heardAt) / 1000));
    if (seconds < 90) this.textContent = `${seconds} s ago`;
    else if (seconds < 5400) this.textContent = `${Math.round(seconds / 60)} min ago`;
    else this.textContent = `${Math.round(seconds / 3600)} h ago`;
  }
}

customElements.define("z-away", AwayElement);
customElements.define("z-heard", HeardElement);
customElements.define("z-last-seen", LastSeenElement);
