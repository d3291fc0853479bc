import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Api } from "../api/client";
import { makeAssignment, TestServer } from "../testing/server";
import { until } from "../testing/until";
import { Journal } from "./journal";
import { MicrophoneError, problemOf, type Microphone } from "./microphone";
import { Recorder } from "./recorder.svelte";
import { Uploader } from "./uploader.svelte";

/** Behaves like the browser's recorder as far as `Recorder` looks; `say` is a second of speech. */
class DeskMicrophone implements Microphone {
  label = "Desk microphone";
  deviceId = "desk";
  onlevel: Microphone["onlevel"] = () => {};
  onlost = () => {};
  closed = false;
  flushes = 0;
  recorder = new (class {
    state: RecordingState = "inactive";
    mimeType = "audio/webm;codecs=opus";
    ondataavailable: (event: { data: Blob }) => void = () => {};
    onstop: () => void = () => {};
    onerror: () => void = () => {};
    requested = 0;
    start() {
      this.state = "recording";
    }
    pause() {
      this.state = "paused";
    }
    resume() {
      this.state = "recording";
    }
    requestData() {
      this.requested += 1;
    }
    stop() {
      this.state = "inactive";
      queueMicrotask(() => {
        this.ondataavailable({ data: new Blob(["end"]) });
        this.onstop();
      });
    }
  })() as unknown as MediaRecorder;

  say(text: string): void {
    for (let tenth = 0; tenth < 10; tenth += 1) {
      clock += 100;
      this.onlevel({ rms: 0.1, peak: 0.4, ms: 100 });
    }
    this.recorder.ondataavailable!({ data: new Blob([text]) } as BlobEvent);
  }

  close(): void {
    this.closed = true;
  }
}

let clock = 0;
let server: TestServer;
let journal: Journal;
let uploader: Uploader;
let microphone: DeskMicrophone;
let recorder: Recorder;
let name = 0;

const speaker = { userId: "me", assignment: makeAssignment("assignment-1"), maxSeconds: 60 };

beforeEach(async () => {
  clock = 0;
  name += 1;
  server = new TestServer();
  await server.start();
  journal = new Journal(`recorder-${name}`);
  uploader = new Uploader(new Api(server.url), journal);
  microphone = new DeskMicrophone();
  recorder = new Recorder(
    journal,
    uploader,
    () => Promise.resolve(microphone),
    () => clock,
  );
});
afterEach(async () => {
  uploader.stop();
  await server.stop();
  await journal.close();
});

test("a take from the first word to the server", async () => {
  const starting = recorder.start(speaker);
  expect(recorder.state).toBe("asking");
  await starting;
  expect(recorder).toMatchObject({ state: "recording", microphone: "Desk microphone", assignmentId: "assignment-1" });
  microphone.say("one ");
  microphone.say("two ");
  expect(recorder.elapsedMs).toBe(2_000);
  expect(recorder.voicedMs).toBe(2_000);
  expect(recorder.level).toBeCloseTo(0.74, 1);
  await recorder.stop();
  expect(recorder.state).toBe("uploading");
  expect(microphone.closed).toBe(true);
  await until(() => recorder.state === "finished");
  expect(server.bytes(recorder.takeId!).toString()).toBe("one two end");
});

test("a pause takes no time, and saves what was said before it", async () => {
  await recorder.start(speaker);
  microphone.say("one");
  recorder.pause();
  expect(recorder.state).toBe("paused");
  expect((microphone.recorder as unknown as { requested: number }).requested).toBe(1);
  clock += 30_000;
  microphone.onlevel({ rms: 0.1, peak: 0.4, ms: 100 });
  expect(recorder.voicedMs).toBe(1_000);
  recorder.resume();
  microphone.say("two");
  expect(recorder.elapsedMs).toBe(2_000);
  await recorder.stop();
  expect(recorder.elapsedMs).toBe(2_000);
});

test("the campaign's limit ends the take", async () => {
  await recorder.start({ ...speaker, maxSeconds: 2 });
  microphone.say("one");
  microphone.say("two");
  await until(() => recorder.state === "finished");
  expect(recorder.reachedLimit).toBe(true);
});

test("an unplugged microphone ends the take and keeps it", async () => {
  await recorder.start(speaker);
  microphone.say("one");
  microphone.onlost();
  await until(() => recorder.state === "finished");
  expect(recorder.problem).toBe("lost");
  expect(server.bytes(recorder.takeId!).toString()).toBe("oneend");
});

test("a recorder that the browser ends by itself is a lost microphone", async () => {
  await recorder.start(speaker);
  microphone.say("one");
  microphone.recorder.stop();
  await until(() => recorder.state === "finished");
  expect(recorder.problem).toBe("lost");
});

test("a full disk ends the take without a gap in it", async () => {
  await recorder.start(speaker);
  microphone.say("one");
  await until(() => server.bytes(recorder.takeId!).toString() === "one");
  const append = vi.spyOn(journal, "append").mockRejectedValueOnce(new DOMException("full", "QuotaExceededError"));
  microphone.say("two");
  microphone.say("three");
  await until(() => recorder.state === "finished");
  expect(recorder.problem).toBe("storage");
  expect(append).toHaveBeenCalledOnce();
  expect(server.bytes(recorder.takeId!).toString()).toBe("one");
});

test("without a microphone it says why, and can be tried again", async () => {
  let refuse = true;
  recorder = new Recorder(journal, uploader, () =>
    refuse ? Promise.reject(new MicrophoneError("denied")) : Promise.resolve(microphone),
  );
  await recorder.start(speaker);
  expect(recorder).toMatchObject({ state: "idle", problem: "denied" });
  refuse = false;
  await recorder.start(speaker);
  expect(recorder).toMatchObject({ state: "recording", problem: null });
});

test("silence and clipping are seen while speaking", async () => {
  await recorder.start(speaker);
  for (let tenth = 0; tenth < 18; tenth += 1) microphone.onlevel({ rms: 0, peak: 0, ms: 100 });
  expect(recorder.noSignal).toBe(true);
  microphone.onlevel({ rms: 0.8, peak: 1, ms: 100 });
  expect(recorder).toMatchObject({ noSignal: false, clipping: true, speaking: true });
});

test("a running take is not restarted, and a flush asks for what is there", async () => {
  await recorder.start(speaker);
  const { takeId } = recorder;
  await recorder.start(speaker);
  expect(recorder.takeId).toBe(takeId);
  recorder.flush();
  expect((microphone.recorder as unknown as { requested: number }).requested).toBe(1);
});

test("the browser's errors have names that people understand", () => {
  const named = (error: string) => problemOf(new DOMException("", error));
  expect(named("NotAllowedError")).toBe("denied");
  expect(named("NotFoundError")).toBe("missing");
  expect(named("NotReadableError")).toBe("busy");
  expect(named("TypeError")).toBe("failed");
  expect(problemOf("nonsense")).toBe("failed");
});
