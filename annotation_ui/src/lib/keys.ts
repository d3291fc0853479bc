/** The one map of keys: the handler below obeys it and the shortcut sheet is drawn from it. */

export type Action =
  | "record"
  | "pause"
  | "stop"
  | "redo"
  | "play"
  | "question"
  | "edit"
  | "submit"
  | "skip"
  | "undo"
  | "zoomIn"
  | "zoomOut"
  | "zoomReset"
  | "zoomFull"
  | "panLeft"
  | "panRight"
  | "panUp"
  | "panDown"
  | "home"
  | "help";

export interface Binding {
  action: Action;
  /** Values of `KeyboardEvent.key`; "Mod+" is Ctrl, or Cmd on a Mac. */
  keys: string[];
  /** How the sheet shows it; without this, the keys themselves. */
  shown?: string;
  group: "take" | "words" | "image" | "anywhere";
  /** Also obeyed while typing. */
  whileTyping?: boolean;
}

export const BINDINGS: readonly Binding[] = [
  { action: "record", keys: ["r"], group: "take" },
  { action: "pause", keys: [" "], shown: "Space", group: "take" },
  { action: "stop", keys: ["s"], group: "take" },
  { action: "redo", keys: ["x"], group: "take" },
  { action: "play", keys: ["p"], group: "take" },
  { action: "question", keys: ["1", "2", "3", "4", "5", "6", "7", "8", "9"], shown: "1 – 9", group: "take" },
  { action: "edit", keys: ["e"], group: "words" },
  { action: "submit", keys: ["Mod+Enter"], group: "words", whileTyping: true },
  { action: "skip", keys: ["k"], group: "words" },
  { action: "undo", keys: ["u"], group: "words" },
  { action: "zoomIn", keys: ["+", "="], shown: "+", group: "image" },
  { action: "zoomOut", keys: ["-"], shown: "−", group: "image" },
  { action: "zoomReset", keys: ["0"], group: "image" },
  { action: "zoomFull", keys: ["f"], group: "image" },
  { action: "panLeft", keys: ["ArrowLeft"], shown: "←", group: "image" },
  { action: "panRight", keys: ["ArrowRight"], shown: "→", group: "image" },
  { action: "panUp", keys: ["ArrowUp"], shown: "↑", group: "image" },
  { action: "panDown", keys: ["ArrowDown"], shown: "↓", group: "image" },
  { action: "home", keys: ["h"], group: "anywhere" },
  { action: "help", keys: ["?"], group: "anywhere" },
];

/** Answers false when the key means nothing here and now, so that the browser keeps it. */
export type Handler = (key: string) => boolean | void;
export type Handlers = Partial<Record<Action, Handler>>;

const isMac = typeof navigator !== "undefined" && /Mac|iPhone|iPad/.test(navigator.platform);

export function shownKey(binding: Binding): string {
  const key = binding.shown ?? binding.keys[0]!;
  return key.replace("Mod+", isMac ? "⌘ " : "Ctrl ").replace("Enter", "↵");
}

export function bindingOf(event: Pick<KeyboardEvent, "key" | "ctrlKey" | "metaKey" | "altKey">): Binding | null {
  if (event.altKey) return null;
  const key =
    (event.ctrlKey || event.metaKey ? "Mod+" : "") + (event.key.length === 1 ? event.key.toLowerCase() : event.key);
  return BINDINGS.find((binding) => binding.keys.includes(key)) ?? null;
}

const TYPING = "input:not([type=checkbox]):not([type=radio]):not([type=button]), textarea, select, [contenteditable]";
/** Space and Enter press these; arrows move inside those. */
const PRESSED = "button, a[href], summary, input, [role=button], [role=checkbox]";
const ARROWS_INSIDE = "[role=listbox], [role=slider], [role=radiogroup], [data-arrows]";

export class Keys {
  private readonly layers: Handlers[] = [];

  /** The newest handlers are asked first. Returns how to take them away again. */
  on(handlers: Handlers): () => void {
    this.layers.push(handlers);
    return () => {
      const index = this.layers.indexOf(handlers);
      if (index >= 0) this.layers.splice(index, 1);
    };
  }

  handle = (event: KeyboardEvent): void => {
    if (event.defaultPrevented || event.isComposing) return;
    const binding = bindingOf(event);
    if (binding === null || document.querySelector("dialog[open]")) return;
    const target = event.target instanceof Element ? event.target : null;
    if (target?.closest(TYPING) && !binding.whileTyping) return;
    if (event.key === " " && target?.closest(PRESSED)) return;
    if (event.key.startsWith("Arrow") && target?.closest(ARROWS_INSIDE)) return;
    // A key held down must not toggle the recording ten times a second; panning may repeat.
    if (event.repeat && binding.group !== "image") return;
    for (const layer of [...this.layers].reverse()) {
      const handler = layer[binding.action];
      if (handler && handler(event.key) !== false) {
        event.preventDefault();
        return;
      }
    }
  };
}

export const keys = new Keys();
