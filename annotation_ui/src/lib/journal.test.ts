import { afterEach, beforeEach, expect, test } from "vitest";

import { sha256, uuid7 } from "./ids";
import { Journal } from "./journal";

let journal: Journal;
let name = 0;

beforeEach(() => {
  name += 1;
  journal = new Journal(`journal-${name}`);
});
afterEach(() => journal.close());

const begin = (id = uuid7(), userId = "me") =>
  journal.begin({
    id,
    userId,
    assignmentId: "assignment",
    fence: 1,
    campaign: "demo",
    mime: "audio/webm",
    startedAt: new Date().toISOString(),
  });

async function append(takeId: string, ...values: number[]) {
  const bytes = new Uint8Array(values).buffer;
  return journal.append({
    takeId,
    bytes,
    sha256: await sha256(bytes),
    elapsedMs: 1_000 * values[0]!,
    voicedMs: 800 * values[0]!,
    createdAt: new Date().toISOString(),
  });
}

test("chunks are numbered in order and the totals follow", async () => {
  const { id } = await begin();
  await append(id, 1, 1);
  const take = await append(id, 2, 2, 2);
  expect(take).toMatchObject({ chunks: 2, bytes: 5, elapsedMs: 2_000, voicedMs: 1_600, stopped: false });
  expect((await journal.chunk(id, 1))?.seq).toBe(1);
  expect(await journal.chunk(id, 2)).toBeUndefined();
  expect([...(await journal.bytes(id))]).toEqual([1, 1, 2, 2, 2]);
});

test("another page of the same browser finds it all", async () => {
  const { id } = await begin();
  await append(id, 7);
  await journal.close();
  const later = new Journal(`journal-${name}`);
  expect((await later.take(id))?.chunks).toBe(1);
  expect([...(await later.bytes(id))]).toEqual([7]);
  await later.close();
});

test("takes belong to a person, oldest first", async () => {
  const first = await begin(uuid7(1));
  await begin(uuid7(2), "somebody else");
  const second = await begin(uuid7(3));
  expect((await journal.takes("me")).map((take) => take.id)).toEqual([first.id, second.id]);
});

test("removing a take leaves the others alone", async () => {
  const [gone, kept] = [await begin(), await begin()];
  await append(gone.id, 1);
  await append(kept.id, 2);
  await journal.remove(gone.id);
  expect(await journal.take(gone.id)).toBeUndefined();
  expect([...(await journal.bytes(gone.id))]).toEqual([]);
  expect([...(await journal.bytes(kept.id))]).toEqual([2]);
});

test("a chunk of an unknown take is an error, not a loss in silence", async () => {
  await expect(append("nowhere", 1)).rejects.toThrow("no take nowhere");
  expect(await journal.update("nowhere", { stopped: true })).toBeUndefined();
});

test("drafts are kept until they are removed", async () => {
  const draft = { assignmentId: "a", recordingId: "r", text: "hello", covered: ["q1"], elapsedMs: 5 };
  await journal.saveDraft(draft);
  expect(await journal.draft("a")).toEqual(draft);
  await journal.removeDraft("a");
  expect(await journal.draft("a")).toBeUndefined();
});
