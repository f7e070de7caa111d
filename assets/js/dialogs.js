// The one way to open a dialog. Its first field has the focus, and closing it gives the focus back.

export function openDialog(id) {
  const found = document.getElementById(id);
  if (!found || found.open) return Boolean(found);
  const around = [];
  for (let at = document.activeElement; at && at !== document.body; at = at.parentElement) around.push(at);
  found.showModal();
  found.querySelector("form input:not([type=hidden]), form textarea")?.focus();
  // The browser gives the focus back to where it was. That may be gone: then to the nearest that is left around it.
  found.addEventListener(
    "close",
    () => {
      const now = document.activeElement;
      if (now !== document.body && !found.contains(now)) return;
      const near = around.find((one) => one.isConnected);
      const place = near?.querySelector("a[href], button:not(:disabled)") ?? document.getElementById("stage");
      place?.focus({ preventScroll: true });
    },
    { once: true },
  );
  return true;
}
