import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Api } from "../api/client";
import { TestServer } from "../testing/server";
import { until } from "../testing/until";
import { sha256, uuid7 } from "./ids";
import { Journal, type TakeEntry } from "./journal";
import { Uploader, type Upload } from "./uploader.svelte";

let server: TestServer;
let journal: Journal;
let uploader: Uploader;
let name = 0;

beforeEach(async () => {
  vi.spyOn(Math, "random").mockReturnValue(-0.99);
  name += 1;
  server = new TestServer();
  await server.start();
  journal = new Journal(`uploader-${name}`);
  uploader = new Uploader(new Api(server.url), journal);
});
afterEach(async () => {
  uploader.stop();
  await server.stop();
  await journal.close();
});

const begin = () =>
  journal.begin({
    id: uuid7(),
    userId: "me",
    assignmentId: "assignment-1",
    fence: 1,
    campaign: "demo",
    mime: "audio/webm;codecs=opus",
    startedAt: new Date().toISOString(),
  });

async function append(take: TakeEntry, text: string, elapsedMs: number): Promise<TakeEntry> {
  const bytes = new TextEncoder().encode(text).buffer as ArrayBuffer;
  return journal.append({
    takeId: take.id,
    bytes,
    sha256: await sha256(bytes),
    elapsedMs,
    voicedMs: elapsedMs / 2,
    createdAt: new Date().toISOString(),
  });
}

async function speak(take: TakeEntry, ...chunks: string[]): Promise<void> {
  for (const [index, chunk] of chunks.entries()) uploader.grown(await append(take, chunk, 1_000 * (index + 1)));
}

async function stop(take: TakeEntry): Promise<void> {
  uploader.grown((await journal.update(take.id, { stopped: true }))!);
}

const settled = (upload: Upload) => until(() => upload.state !== "sending");

test("chunks travel while the person speaks; the journal forgets the take when the server has it whole", async () => {
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one", "two");
  await until(() => upload.sentMs === 2_000);
  expect(uploader.busy).toBe(true);
  expect(await journal.take(take.id)).toMatchObject({ chunks: 2, registered: true });
  await speak(take, "three");
  await stop(take);
  await settled(upload);
  expect(upload.state).toBe("finished");
  expect(server.bytes(take.id).toString()).toBe("onetwothree");
  expect(await journal.take(take.id)).toBeUndefined();
  expect(uploader.busy).toBe(false);
});

test("speech waits while the server is away and goes on when it is back", async () => {
  server.down = true;
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one", "two");
  await stop(take);
  await until(() => uploader.waiting);
  expect(uploader.unsentMs).toBe(2_000);
  expect(await journal.take(take.id)).toMatchObject({ chunks: 2 });
  server.down = false;
  dispatchEvent(new Event("online"));
  await settled(upload);
  expect(server.bytes(take.id).toString()).toBe("onetwo");
  expect(uploader.unsentMs).toBe(0);
});

test("a take that an earlier page left is finished as it is and called recovered", async () => {
  const take = await begin();
  await append(take, "one", 1_000);
  await append(take, "two", 2_000);
  const heard: Upload[] = [];
  uploader.onSettled((upload) => heard.push(upload));
  await uploader.recover("me");
  await until(() => heard.length === 1);
  expect(heard[0]).toMatchObject({ id: take.id, state: "finished", recovered: true, elapsedMs: 2_000 });
  expect(server.takes.get(take.id)!.view.voiced_s).toBe(1);
});

test("only the missing chunks are sent again after a reload", async () => {
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one", "two");
  await until(() => upload.sentMs === 2_000);
  uploader.stop();
  await append(take, "three", 3_000);
  server.log.length = 0;
  await uploader.recover("me");
  await until(() => server.takes.get(take.id)!.view.state === "finished");
  expect(server.log.filter((line) => line.startsWith("PUT"))).toEqual([`PUT /api/recordings/${take.id}/chunks/2`]);
});

test("other people's takes are left alone", async () => {
  const take = await begin();
  await append(take, "one", 1_000);
  await uploader.recover("somebody else");
  expect(uploader.uploads.size).toBe(0);
  expect(await journal.take(take.id)).toBeDefined();
});

test("a take without sound is forgotten", async () => {
  const take = await begin();
  await uploader.recover("me");
  await vi.waitFor(async () => expect(await journal.take(take.id)).toBeUndefined());
  expect(server.log).toEqual([]);
});

test("a chunk damaged on its way is sent again", async () => {
  const take = await begin();
  server.instead.set("PUT /chunks/0", { status: 422, body: { code: "chunk_corrupt" } });
  const upload = uploader.follow(take);
  await speak(take, "one");
  await stop(take);
  await settled(upload);
  expect(upload.state).toBe("finished");
});

test("the server's word decides which chunk comes next", async () => {
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one", "two", "three");
  await until(() => upload.sentMs === 3_000);
  server.takes.get(take.id)!.chunks.length = 1;
  await stop(take);
  await settled(upload);
  expect(server.bytes(take.id).toString()).toBe("onetwothree");
});

test("a finish that was answered but not heard is not a loss", async () => {
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one");
  await until(() => upload.sentMs === 1_000);
  server.takes.get(take.id)!.view.state = "finished";
  await speak(take, "two");
  await settled(upload);
  expect(upload.state).toBe("finished");
});

test("a rejected take is reported with the server's reason and leaves the journal", async () => {
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one");
  await until(() => upload.sentMs === 1_000);
  const recording = { ...server.takes.get(take.id)!.view, state: "rejected", reject_reason: "silent" };
  server.instead.set("POST /finish", { status: 422, body: { code: "take_rejected", reason: "silent", recording } });
  await stop(take);
  await settled(upload);
  expect(upload.state).toBe("rejected");
  expect(upload.recording?.reject_reason).toBe("silent");
  expect(await journal.take(take.id)).toBeUndefined();
});

test("a take that comes too late stays in the journal until the person removes it", async () => {
  server.instead.set("POST /recordings", { status: 409, body: { code: "lease_lost" } });
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one");
  await settled(upload);
  expect(upload).toMatchObject({ state: "refused", refusal: "lease_lost" });
  expect(uploader.refused).toHaveLength(1);
  expect(await journal.take(take.id)).toBeDefined();
  await uploader.discard(take.id);
  expect(await journal.take(take.id)).toBeUndefined();
  expect(uploader.uploads.size).toBe(0);
});

test("a discarded take is thrown away on both sides", async () => {
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one");
  await until(() => upload.sentMs === 1_000);
  await uploader.discard(take.id);
  await settled(upload);
  expect(upload.state).toBe("discarded");
  expect(server.takes.get(take.id)!.view.state).toBe("discarded");
  expect(await journal.take(take.id)).toBeUndefined();
});

test("a take discarded while the server is finishing it does not come back", async () => {
  const api = new Api(server.url);
  uploader = new Uploader(api, journal);
  const finish = api.finish;
  api.finish = async (id, body) => {
    const recording = await finish(id, body);
    void uploader.discard(id);
    return recording;
  };
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one");
  await stop(take);
  await settled(upload);
  expect(upload).toMatchObject({ state: "discarded", recording: null });
  expect(server.takes.get(take.id)!.view.state).toBe("discarded");
  expect(await journal.take(take.id)).toBeUndefined();
});

test("a server that lost the take is given it again", async () => {
  const take = await begin();
  const upload = uploader.follow(take);
  await speak(take, "one");
  await until(() => upload.sentMs === 1_000);
  uploader.stop();
  server.takes.clear();
  await uploader.recover("me");
  await until(() => server.takes.get(take.id)?.view.state === "finished");
  expect(server.bytes(take.id).toString()).toBe("one");
});
