import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Api } from "../api/client";
import type { CampaignDetails } from "../api/types";
import { TestServer } from "../testing/server";
import { until } from "../testing/until";
import { sha256, uuid7 } from "./ids";
import { Journal } from "./journal";
import { MicrophoneError } from "./microphone";
import { Outbox } from "./outbox.svelte";
import { Recorder } from "./recorder.svelte";
import { TaskSession, type Notices } from "./task-session.svelte";
import { Uploader } from "./uploader.svelte";

const campaign: CampaignDetails = {
  id: "c",
  name: "demo",
  title: "Demo",
  kind: "describe",
  language: "en",
  status: "active",
  total: 10,
  done: 0,
  remaining_for_me: 10,
  done_by_me: 0,
  instructions: "",
  questions: [{ id: "q1", text: "What is it?" }],
  overlap: 1,
  min_voiced_seconds: 20,
  max_seconds: 300,
  min_words: 4,
};

let server: TestServer;
let journal: Journal;
let uploader: Uploader;
let session: TaskSession;
let told: string[];
let name = 0;

beforeEach(async () => {
  vi.spyOn(Math, "random").mockReturnValue(-0.99);
  localStorage.clear();
  name += 1;
  server = new TestServer();
  await server.start();
  journal = new Journal(`session-${name}`);
  session = open();
});
afterEach(async () => {
  await session.close();
  uploader.stop();
  await server.stop();
  await journal.close();
});

function open(): TaskSession {
  told = [];
  const api = new Api(server.url);
  uploader = new Uploader(api, journal);
  const recorder = new Recorder(journal, uploader, () => Promise.reject(new MicrophoneError("missing")));
  const notices: Notices = {
    submitted: () => void told.push("submitted"),
    skipped: () => void told.push("skipped"),
    undone: () => void told.push("undone"),
    nothingToUndo: () => void told.push("nothing to undo"),
    failed: (error) => void told.push(String(error)),
  };
  return new TaskSession(campaign, recorder, uploader, api, journal, new Outbox(), notices, 20);
}

const at = () => session.current?.assignment.id;

/** What the recorder leaves behind when a take of the image at hand is over. */
async function record(voicedMs = 30_000): Promise<void> {
  const { assignment } = session.current!;
  const take = await journal.begin({
    id: uuid7(),
    userId: "me",
    assignmentId: assignment.id,
    fence: assignment.fence,
    campaign: "demo",
    mime: "audio/webm;codecs=opus",
    startedAt: new Date().toISOString(),
  });
  const bytes = new TextEncoder().encode("speech").buffer as ArrayBuffer;
  const elapsedMs = voicedMs + 1_000;
  await journal.append({ takeId: take.id, bytes, sha256: await sha256(bytes), elapsedMs, voicedMs, createdAt: "" });
  uploader.follow((await journal.update(take.id, { stopped: true }))!);
}

test("shows one image and has the next one ready behind it", async () => {
  await session.open();
  expect(session.state).toBe("working");
  expect(at()).toBe("assignment-1");
  await until(() => session.queue.length === 2);
  expect(session.queue[1]!.image).not.toBeNull();
  expect(session).toMatchObject({ phase: "ready", blocker: "no_take" });
});

test("the road of a take: sent, transcribed, corrected, handed in; the next image is there at once", async () => {
  await session.open();
  await until(() => session.queue.length === 2);
  await record();
  expect(session).toMatchObject({ phase: "sending", blocker: "sending" });
  await until(() => session.phase === "transcribing");
  expect(session.blocker).toBe("transcript");
  await until(() => session.phase === "review");
  expect(session).toMatchObject({ blocker: null, voicedSeconds: 30, enough: true });
  session.current!.tick("q1");
  session.current!.edit("Three green apples on a table.");
  const submitting = session.submit();
  expect(at()).toBe("assignment-2");
  await submitting;
  await until(() => told.includes("submitted"));
  expect(server.submissions).toMatchObject([{ text: "Three green apples on a table.", covered: ["q1"], fence: 1 }]);
  expect(session.doneHere).toBe(1);
  expect(uploader.uploads.size).toBe(0);
  await until(() => session.queue.length === 2);
  expect(session.queue[1]!.assignment.id).toBe("assignment-3");
});

test("an answer outlives a server that is away, and the person works on", async () => {
  await session.open();
  await until(() => session.queue.length === 2);
  await record();
  await until(() => session.phase === "review");
  server.down = true;
  await session.submit();
  expect(at()).toBe("assignment-2");
  expect(told).toEqual([]);
  server.down = false;
  dispatchEvent(new Event("online"));
  await until(() => told.includes("submitted"));
  expect(server.submissions).toHaveLength(1);
});

test("a refused answer comes back with the reason", async () => {
  await session.open();
  await until(() => session.queue.length === 2);
  await record();
  await until(() => session.phase === "review");
  server.instead.set("POST /submit", { status: 422, body: { code: "too_few_words" } });
  await session.submit();
  await until(() => session.current?.refusal !== null && at() === "assignment-1");
  expect(session.current!.refusal!.code).toBe("too_few_words");
  await session.submit();
  await until(() => told.includes("submitted"));
});

test("the last image waits for the server's word", async () => {
  server.images = 1;
  await session.open();
  await record();
  await until(() => session.phase === "review");
  await session.submit();
  expect(told).toEqual(["submitted"]);
  expect(session.state).toBe("empty");
});

test("too little speech or too few words cannot be handed in", async () => {
  server.transcript = { ...server.transcript!, text: "Apples." };
  await session.open();
  await record(5_000);
  await until(() => session.phase === "review");
  expect(session.blocker).toBe("too_short");
  await session.redo();
  expect(session).toMatchObject({ phase: "ready", voicedSeconds: 0 });
  await record();
  await until(() => session.phase === "review");
  expect(session.blocker).toBe("too_few_words");
  await session.submit();
  expect(server.submissions).toEqual([]);
});

test("redo makes room at once, also while the take is still on its way", async () => {
  await session.open();
  server.down = true;
  await record();
  await until(() => uploader.waiting);
  await session.redo();
  expect(session).toMatchObject({ phase: "ready", upload: null });
  expect(uploader.unsentMs).toBe(0);
});

test("a parked transcription does not hold anybody up", async () => {
  await session.open();
  await record();
  await until(() => session.phase === "transcribing");
  await session.submit(true);
  expect(server.submissions).toEqual([]);
  for (const take of server.takes.values()) take.view.transcription.state = "parked";
  await until(() => session.phase === "parked");
  expect(session.mayHurry).toBe(true);
  await session.submit(true);
  await until(() => told.includes("submitted"));
  expect(server.submissions[0]!.text).toBeNull();
});

test("a take without speech asks for another one", async () => {
  await session.open();
  await record();
  await until(() => session.phase === "transcribing");
  for (const take of server.takes.values()) {
    Object.assign(take.view.transcription, { state: "done", outcome: "no_speech" });
  }
  await until(() => session.phase === "no_speech");
  expect(session.blocker).toBe("no_speech");
});

test("undo opens the last answer again, with the words and ticks that were handed in", async () => {
  await session.open();
  await until(() => session.queue.length === 2);
  await record();
  await until(() => session.phase === "review");
  session.current!.tick("q1");
  session.current!.edit("Three green apples on a table.");
  await session.submit();
  await session.undo();
  expect(told).toEqual(["submitted", "undone"]);
  expect(at()).toBe("assignment-1");
  expect(session.current!.assignment.fence).toBe(2);
  expect(session.current!.text).toBe("Three green apples on a table.");
  expect([...session.current!.covered]).toEqual(["q1"]);
  expect(session.queue.map((work) => work.assignment.id).slice(1)).toContain("assignment-2");
  expect(session.doneHere).toBe(0);
});

test("when nothing can be undone it says so", async () => {
  await session.open();
  server.instead.set("GET /last?campaign=demo", { status: 204, body: {} });
  await session.undo();
  expect(told).toEqual(["nothing to undo"]);
});

test("skipping goes on to the next image", async () => {
  await session.open();
  await until(() => session.queue.length === 2);
  await session.skip("image_broken", "grey");
  expect(told).toEqual(["skipped"]);
  expect(at()).toBe("assignment-2");
});

test("a lost lease is said, and the image behind it is quietly replaced", async () => {
  await session.open();
  await until(() => session.queue.length === 2);
  server.expire("assignment-2");
  await session.beat();
  await until(() => session.queue[1]?.assignment.id === "assignment-3");
  server.expire("assignment-1");
  await session.beat();
  expect(session.current!.leaseLost).toBe(true);
  await session.leave();
  expect(at()).toBe("assignment-3");
});

test("what was typed survives a reload", async () => {
  await session.open();
  await until(() => session.queue.length === 2);
  await record();
  await until(() => session.phase === "review");
  session.current!.edit("Three yellow apples on a table.");
  session.current!.tick("q1");
  await vi.waitFor(async () => expect(await journal.draft("assignment-1")).toBeDefined());
  await session.close();
  session = open();
  server.instead.set("POST /next", {
    status: 200,
    body: { ...(await new Api(server.url).next("demo", []))!, recording: [...server.takes.values()][0]!.view },
  });
  await session.open();
  expect(session.current!.text).toBe("Three yellow apples on a table.");
  expect([...session.current!.covered]).toEqual(["q1"]);
});

test("a reload comes back to the image that the person was busy with", async () => {
  await session.open();
  await until(() => session.queue.length === 2);
  await session.skip("other", "");
  expect(at()).toBe("assignment-2");
  await until(() => session.queue.length === 2);
  await session.close();
  session = open();
  server.newestFirst = true;
  await session.open();
  expect(at()).toBe("assignment-2");
  expect(session.queue[1]!.assignment.id).toBe("assignment-3");
});

test("a take that another page left is shown as recovered", async () => {
  await session.open();
  const { assignment } = session.current!;
  const take = await journal.begin({
    id: uuid7(),
    userId: "me",
    assignmentId: assignment.id,
    fence: 1,
    campaign: "demo",
    mime: "audio/webm",
    startedAt: "2026-01-01T00:00:00Z",
  });
  const bytes = new TextEncoder().encode("speech").buffer as ArrayBuffer;
  await journal.append({
    takeId: take.id,
    bytes,
    sha256: await sha256(bytes),
    elapsedMs: 12_000,
    voicedMs: 9_000,
    createdAt: "",
  });
  await uploader.recover("me");
  await until(() => session.phase === "review");
  expect(session.recovered?.elapsedMs).toBe(12_000);
  expect(session.blocker).toBe("too_short");
  session.recovered!.seen = true;
  expect(session.recovered).toBeNull();
});

test("an error of the server is shown and can be tried again", async () => {
  server.instead.set("POST /next", { status: 403, body: { code: "forbidden" } });
  await session.open();
  expect(session.state).toBe("failed");
  await session.retry();
  expect(session.state).toBe("working");
});
