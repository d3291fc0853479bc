import { expect, test } from "vitest";

import { parse } from "./router.svelte";

test("addresses lead to pages", () => {
  expect(parse("/", "")).toEqual({ page: "home" });
  expect(parse("/join", "#secret")).toEqual({ page: "join", token: "secret" });
  expect(parse("/login", "")).toEqual({ page: "login" });
  expect(parse("/c/street%20signs", "")).toEqual({ page: "task", campaign: "street signs" });
  expect(parse("/admin/", "")).toEqual({ page: "admin" });
  expect(parse("/c", "")).toEqual({ page: "unknown" });
  expect(parse("/somewhere/else", "")).toEqual({ page: "unknown" });
});
