import { expect, test } from "vitest";

import { de } from "../i18n/de";
import { en } from "../i18n/en";
import { BINDINGS, bindingOf, shownKey } from "./keys";

const press = (key: string, held: Partial<Record<"ctrlKey" | "metaKey" | "altKey", boolean>> = {}) =>
  bindingOf({ key, ctrlKey: false, metaKey: false, altKey: false, ...held })?.action;

test("keys mean what the sheet says", () => {
  expect(["r", "R", " ", "3", "?", "ArrowUp", "="].map((key) => press(key))).toEqual([
    "record",
    "record",
    "pause",
    "question",
    "help",
    "panUp",
    "zoomIn",
  ]);
});

test("Ctrl and Cmd submit; the browser's own combinations stay its own", () => {
  expect(press("Enter", { ctrlKey: true })).toBe("submit");
  expect(press("Enter", { metaKey: true })).toBe("submit");
  expect(press("Enter")).toBeUndefined();
  expect(press("r", { ctrlKey: true })).toBeUndefined();
  expect(press("s", { metaKey: true })).toBeUndefined();
  expect(press("e", { altKey: true })).toBeUndefined();
});

test("no key has two meanings, and every action has a name in every language", () => {
  const keys = BINDINGS.flatMap((binding) => binding.keys);
  expect(new Set(keys).size).toBe(keys.length);
  for (const binding of BINDINGS) {
    expect(en.keys.actions[binding.action]).toBeTruthy();
    expect(de.keys.actions[binding.action]).toBeTruthy();
    expect(shownKey(binding)).not.toContain("Mod");
  }
});
