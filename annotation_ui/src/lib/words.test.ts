import { expect, test } from "vitest";

import type { Word } from "../api/types";
import { align, countWords, startOf, tokenAt } from "./words";

const heard = (text: string, confidence: number | null = 0.9): Word[] =>
  text.split(" ").map((word, index) => ({ text: word, start: index, end: index + 0.8, confidence }));

const starts = (text: string, words: Word[]) => align(text, words).map((token) => token.start);

test("an untouched transcript keeps all its times", () => {
  expect(starts("three red apples", heard("three red apples"))).toEqual([0, 1, 2]);
});

test("punctuation and capitals do not matter", () => {
  expect(starts("Three red, apples.", heard("three red apples"))).toEqual([0, 1, 2]);
});

test("changed and added words have no time; the rest keeps its own", () => {
  expect(starts("three green apples and pears on it", heard("three red apples on it"))).toEqual([
    0,
    null,
    2,
    null,
    null,
    3,
    4,
  ]);
  expect(starts("apples on it", heard("three red apples on it"))).toEqual([2, 3, 4]);
});

test("repeated words are matched in order", () => {
  expect(starts("the cup the plate", heard("the cup and the plate"))).toEqual([0, 1, 3, 4]);
});

test("unsure words are marked, words of unknown confidence are not", () => {
  expect(align("mug", heard("mug", 0.2))[0]!.unsure).toBe(true);
  expect(align("mug", heard("mug", null))[0]!.unsure).toBe(false);
});

test("blank lines begin paragraphs", () => {
  expect(align("one two\n\nthree", []).map((token) => token.paragraph)).toEqual([false, false, true]);
});

test("a long text with one correction is aligned in no time", () => {
  const text = Array.from({ length: 2_000 }, (_, index) => `word${index}`);
  const words = heard(text.join(" "));
  text[1_000] = "corrected";
  const before = performance.now();
  const tokens = align(text.join(" "), words);
  expect(performance.now() - before).toBeLessThan(200);
  expect(tokens.filter((token) => token.start === null)).toHaveLength(1);
});

test("finds the word that sounds, and where to start for one without a time", () => {
  const tokens = align("three green apples", heard("three red apples"));
  expect([-1, 0, 1.5, 2.1, 99].map((seconds) => tokenAt(tokens, seconds))).toEqual([-1, 0, 0, 2, 2]);
  expect([0, 1, 2].map((index) => startOf(tokens, index))).toEqual([0, 0, 2]);
  expect(startOf([], 0)).toBe(0);
});

test("counts words, not dashes", () => {
  expect(countWords("  Two cups – and 3 plates. ")).toBe(5);
  expect(countWords("")).toBe(0);
});
