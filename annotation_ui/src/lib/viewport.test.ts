import { beforeEach, expect, test } from "vitest";

import { Viewport } from "./viewport.svelte";

let view: Viewport;
beforeEach(() => {
  view = new Viewport();
  view.setBox(840, 640);
  view.setImage(1600, 1200);
});

const imagePoint = (x: number, y: number) => [(x - view.x) / view.scale, (y - view.y) / view.scale];

test("the whole image is shown in the middle, with a margin", () => {
  expect(view.scale).toBe(0.5);
  expect([view.x, view.y]).toEqual([20, 20]);
  expect(view.zoomed).toBe(false);
});

test("zooming keeps the point under the cursor where it is", () => {
  view.zoomBy(2, 420, 320);
  const before = imagePoint(500, 300);
  view.zoomBy(1.7, 500, 300);
  const after = imagePoint(500, 300);
  expect(after[0]).toBeCloseTo(before[0]!);
  expect(after[1]).toBeCloseTo(before[1]!);
  expect(view.zoomed).toBe(true);
});

test("zooms between the whole image and eight times its pixels", () => {
  view.zoomBy(0.1);
  expect(view.scale).toBe(0.5);
  view.zoomBy(1_000);
  expect(view.scale).toBe(8);
});

test("panning stops at the edges", () => {
  view.zoomBy(4);
  view.panBy(99_999, 99_999);
  expect([view.x, view.y]).toEqual([0, 0]);
  view.panBy(-99_999, -99_999);
  expect([view.x, view.y]).toEqual([840 - 3200, 640 - 2400]);
});

test("full resolution and back", () => {
  view.toggleFull();
  expect(view.percent).toBe(100);
  view.toggleFull();
  expect(view.scale).toBe(0.5);
});

test("a fitted image follows its box, a zoomed one keeps its scale", () => {
  view.setBox(440, 640);
  expect(view.scale).toBe((440 - 22) / 1600);
  view.toggleFull();
  view.setBox(840, 640);
  expect(view.percent).toBe(100);
});

test("a small image is enlarged by its full view", () => {
  view.setImage(100, 100);
  const fitted = view.scale;
  view.toggleFull();
  expect(view.scale).toBe(2 * fitted);
});
