import { expect, test } from "vitest";

import { de } from "./de";
import { en } from "./en";
import { Locale, known } from "./locale.svelte";

type Tree = { [key: string]: unknown };

function leaves(tree: Tree, path = ""): [string, unknown][] {
  return Object.entries(tree).flatMap(([key, value]) =>
    typeof value === "object" ? leaves(value as Tree, `${path}${key}.`) : [[path + key, value] as [string, unknown]],
  );
}

test("every text exists in every language, also where keys are open", () => {
  expect(leaves(de).map(([path]) => path)).toEqual(leaves(en).map(([path]) => path));
  for (const catalogue of [en, de]) {
    for (const [path, text] of leaves(catalogue)) {
      const said = typeof text === "function" ? String((text as (...values: unknown[]) => string)(2, 3, 4)) : text;
      expect(said, path).toMatch(/\S/);
      expect(said, path).not.toContain("undefined");
    }
  }
});

test("numbers choose their form", () => {
  expect(en.home.remaining(1)).toBe("1 image left for you");
  expect(en.home.remaining(1_200)).toBe("1,200 images left for you");
  expect(de.home.remaining(1)).toBe("1 Bild wartet auf dich");
  expect(de.home.remaining(1_200)).toBe("1.200 Bilder warten auf dich");
});

test("languages are known by their first part", () => {
  expect([known("de-AT"), known("EN"), known("fr"), known("")]).toEqual(["de", "en", null, null]);
});

test("the chosen language is used for texts, numbers and the page itself", async () => {
  const locale = new Locale();
  await locale.use("de");
  expect(locale.t.submit.submit).toBe("Abgeben");
  expect(locale.number(1234.5, 1)).toBe("1.234,5");
  expect(locale.clock(65.9)).toBe("1:05");
  expect(document.documentElement.lang).toBe("de");
  expect(localStorage.getItem("pixmo.locale")).toBe("de");
  const now = Date.parse("2026-01-01T12:00:00Z");
  expect(locale.ago("2026-01-01T11:57:00Z", now)).toBe("vor 3 Minuten");
  await locale.use("fr");
  expect(locale.code).toBe("en");
  expect(locale.ago("2026-01-01T10:00:00Z", now)).toBe("2 hours ago");
});
