/** IndexedDB in memory, and the few browser globals that the classes under test touch. */
import "fake-indexeddb/auto";

const page = new EventTarget();
const stored = new Map<string, string>();

Object.assign(globalThis, {
  addEventListener: page.addEventListener.bind(page),
  removeEventListener: page.removeEventListener.bind(page),
  dispatchEvent: page.dispatchEvent.bind(page),
  document: { visibilityState: "visible", documentElement: { lang: "", dataset: {} }, querySelector: () => null },
  location: { pathname: "/", hash: "" },
  localStorage: {
    getItem: (key: string) => stored.get(key) ?? null,
    setItem: (key: string, value: string) => void stored.set(key, value),
    clear: () => stored.clear(),
  },
  // Decoding is the browser's affair; here every image is there at once.
  Image: class {
    src = "";
    decode = () => Promise.resolve();
  },
});
