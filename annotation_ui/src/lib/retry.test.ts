import { expect, test, vi } from "vitest";

import { ApiError, OfflineError } from "../api/client";
import { backoff, pause, untilAnswered } from "./retry";

test("waits double up to a ceiling, and are spread", () => {
  expect([1, 2, 3, 10].map((attempt) => backoff(attempt, () => 1))).toEqual([500, 1_000, 2_000, 15_000]);
  expect(backoff(3, () => 0)).toBe(1_000);
});

test("a pause ends when the network comes back", async () => {
  const paused = pause(60_000);
  dispatchEvent(new Event("online"));
  await paused;
});

test("asks again while no answer comes, and says so", async () => {
  vi.spyOn(Math, "random").mockReturnValue(-0.99);
  const request = vi
    .fn<() => Promise<string>>()
    .mockRejectedValueOnce(new OfflineError("down"))
    .mockResolvedValue("here");
  const waiting: boolean[] = [];
  expect(await untilAnswered(request, { waiting: (now) => waiting.push(now) })).toBe("here");
  expect(waiting).toEqual([true, false]);
});

test("an answer is an answer, also when it is no", async () => {
  const request = vi.fn<() => Promise<string>>().mockRejectedValue(new ApiError(409, "lease_lost", {}));
  await expect(untilAnswered(request)).rejects.toMatchObject({ code: "lease_lost" });
  expect(request).toHaveBeenCalledOnce();
});

test("stops asking when nobody wants the answer", async () => {
  const request = vi.fn<() => Promise<string>>().mockRejectedValue(new OfflineError("down"));
  await expect(untilAnswered(request, { givenUp: () => true })).rejects.toBeInstanceOf(OfflineError);
});
