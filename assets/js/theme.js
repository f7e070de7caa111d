// Runs before the first paint: the reader's own choice of light or dark, if there is one; and a stand-in for studio.js.
try {
  const chosen = localStorage.getItem("zoetrope.theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is closed in this browser: the system's choice stands.
}
// A letter's link carries a token: the reset page shows its second form then.
if (new URLSearchParams(location.search).has("token")) document.documentElement.dataset.token = "";

// The server's first calls may come before studio.js, which is a module and loads late. They wait for it here.
const early = [];
window.zoetrope = new Proxy(
  { early },
  {
    get: (room, name) =>
      room[name] ?? ((...values) => new Promise((answer) => early.push({ name, values, answer }))),
  },
);
