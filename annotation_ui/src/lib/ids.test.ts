import { expect, test } from "vitest";

import { sha256, uuid7 } from "./ids";

test("ids are version 7 and sort by time", () => {
  const ids = [1_000, 1_700_000_000_000, 1_700_000_000_001].map((time) => uuid7(time));
  expect(ids[1]).toMatch(/^018bcfe5-6800-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  expect([...ids].sort()).toEqual(ids);
  expect(uuid7(1_000)).not.toBe(ids[0]);
});

test("sha256 is written in hexadecimal", async () => {
  expect(await sha256(new TextEncoder().encode("abc"))).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});
