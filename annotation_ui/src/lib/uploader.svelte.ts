/** Carries the journal to the server: chunk by chunk while the person speaks, and whatever an earlier page left. */
import { SvelteMap } from "svelte/reactivity";

import { ApiError, hasCode, isTemporary, type Api } from "../api/client";
import type { Recording } from "../api/types";
import { backoff, pause } from "./retry";
import { sha256 } from "./ids";
import type { Journal, TakeEntry } from "./journal";

export type UploadState =
  | "sending"
  /** The server has it whole. */
  | "finished"
  /** The server has it whole and says that it is unusable. */
  | "rejected"
  /** The server will not take it (for instance because the lease ran out); it stays in the journal. */
  | "refused"
  | "discarded";

/** One take on its way. */
export class Upload {
  state = $state<UploadState>("sending");
  /** Recorded milliseconds in the journal, and those of them that the server has acknowledged. */
  elapsedMs = $state(0);
  sentMs = $state(0);
  voicedMs = $state(0);
  stopped = $state(false);
  /** True while the last try failed and the next one is being waited for. */
  waiting = $state(false);
  recording = $state.raw<Recording | null>(null);
  refusal = $state("");
  recovered = $state(false);
  /** The person has seen that this take was recovered. */
  seen = $state(false);

  readonly id: string;
  readonly assignmentId: string;
  readonly campaign: string;
  nextSeq: number | null = null;
  /** The person threw it away, perhaps while the server was answering. */
  unwanted = $state(false);
  wake: () => void = () => {};

  constructor(take: TakeEntry) {
    this.id = take.id;
    this.assignmentId = take.assignmentId;
    this.campaign = take.campaign;
    this.update(take);
  }

  update(take: TakeEntry): void {
    this.elapsedMs = take.elapsedMs;
    this.voicedMs = take.voicedMs;
    this.stopped = take.stopped;
    this.recovered = take.recovered;
  }

  get unsentMs(): number {
    return this.state === "sending" && !this.unwanted ? Math.max(0, this.elapsedMs - this.sentMs) : 0;
  }
}

type Listener = (upload: Upload) => void;

/** Runs `work` while no other page does so for the same take; when that page dies, this one follows. */
async function alone(takeId: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  if (!("locks" in navigator)) return work();
  try {
    await navigator.locks.request(`pixmo-take-${takeId}`, { signal }, work);
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

export class Uploader {
  readonly uploads = new SvelteMap<string, Upload>();
  /** Milliseconds of speech that only this browser has. */
  unsentMs = $derived([...this.uploads.values()].reduce((sum, upload) => sum + upload.unsentMs, 0));
  waiting = $derived([...this.uploads.values()].some((upload) => upload.state === "sending" && upload.waiting));
  /** True while closing the page would leave something to be sent later. */
  busy = $derived([...this.uploads.values()].some((upload) => upload.state === "sending"));
  refused = $derived([...this.uploads.values()].filter((upload) => upload.state === "refused"));

  private readonly listeners = new Set<Listener>();
  private running = new AbortController();

  constructor(
    private readonly api: Api,
    private readonly journal: Journal,
  ) {}

  /** Calls `listener` for every take that reaches the end of its way. */
  onSettled(listener: Listener): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Takes up what earlier pages of this person left in the journal. */
  async recover(userId: string): Promise<void> {
    const takes = await this.journal.takes(userId);
    for (const take of takes) {
      if (!this.uploads.has(take.id)) void alone(take.id, this.running.signal, () => this.adopt(take.id));
    }
  }

  /** Starts sending a take that this page records. */
  follow(take: TakeEntry): Upload {
    const upload = new Upload(take);
    this.uploads.set(take.id, upload);
    void alone(take.id, this.running.signal, () => this.run(this.uploads.get(take.id)!));
    return this.uploads.get(take.id)!;
  }

  /** The journal holds more of this take than before. */
  grown(take: TakeEntry): void {
    const upload = this.uploads.get(take.id);
    upload?.update(take);
    upload?.wake();
  }

  async discard(id: string): Promise<void> {
    const upload = this.uploads.get(id);
    if (upload) upload.unwanted = true;
    await this.journal.update(id, { discarded: true, stopped: true });
    if (upload === undefined) return;
    if (upload.state !== "sending") {
      await this.journal.remove(id);
      this.settle(upload, "discarded");
    }
    upload.wake();
  }

  /** Drops what was settled for an assignment that is done with. What is unsent or refused stays. */
  forget(assignmentId: string): void {
    for (const upload of [...this.uploads.values()]) {
      const settled = upload.state === "finished" || upload.state === "rejected";
      if (settled && upload.assignmentId === assignmentId) this.uploads.delete(upload.id);
    }
  }

  /** Ends all sending, as when another person signs in. The journal keeps what is left. */
  stop(): void {
    this.running.abort();
    this.running = new AbortController();
    for (const upload of this.uploads.values()) upload.wake();
    this.uploads.clear();
  }

  private async adopt(id: string): Promise<void> {
    let take = await this.journal.take(id);
    if (take === undefined) return;
    if (!take.stopped) take = await this.journal.update(id, { stopped: true, recovered: true });
    if (take === undefined) return;
    if (take.chunks === 0 && !take.registered) {
      await this.journal.remove(id);
      return;
    }
    if (take.chunks === 0) await this.journal.update(id, { discarded: true });
    this.uploads.set(id, new Upload(take));
    await this.run(this.uploads.get(id)!);
  }

  private async run(upload: Upload): Promise<void> {
    const { signal } = this.running;
    let attempt = 0;
    while (upload.state === "sending" && !signal.aborted) {
      const woken = new Promise<void>((resolve) => (upload.wake = resolve));
      try {
        const moved = await this.step(upload);
        attempt = 0;
        upload.waiting = false;
        if (!moved && !signal.aborted) await woken;
      } catch (error) {
        if (!isTemporary(error) && !hasCode(error, "chunk_corrupt", "not_signed_in")) {
          upload.refusal = error instanceof ApiError ? error.code : String(error);
          this.settle(upload, "refused");
          return;
        }
        attempt += 1;
        upload.waiting = true;
        // A new chunk every second must not turn the pause into a hammer: only early tries are woken by it.
        await pause(backoff(attempt), upload.stopped || attempt <= 2 ? woken : undefined);
      }
    }
  }

  /** Does the next thing for a take. False when there is nothing to do until it grows. */
  private async step(upload: Upload): Promise<boolean> {
    const take = await this.journal.take(upload.id);
    if (take === undefined) {
      this.settle(upload, "discarded");
      return true;
    }
    if (take.discarded) {
      if (take.registered) await this.tellDiscarded(take.id);
      await this.journal.remove(take.id);
      this.settle(upload, "discarded");
      return true;
    }
    if (upload.nextSeq === null) return this.register(upload, take);

    const chunk = await this.journal.chunk(take.id, upload.nextSeq);
    if (chunk !== undefined) {
      try {
        upload.nextSeq = await this.api.putChunk(take.id, chunk.seq, chunk.bytes, chunk.sha256);
        upload.sentMs = Math.max(upload.sentMs, chunk.elapsedMs);
      } catch (error) {
        if (!(await this.corrected(upload, error))) throw error;
      }
      return true;
    }
    if (!take.stopped) return false;
    await this.finish(upload, take);
    return true;
  }

  private async register(upload: Upload, take: TakeEntry): Promise<boolean> {
    const recording = await this.open(take);
    if (!take.registered) await this.journal.update(take.id, { registered: true });
    upload.nextSeq = recording.next_seq;
    if (recording.next_seq > 0) {
      upload.sentMs = (await this.journal.chunk(take.id, recording.next_seq - 1))?.elapsedMs ?? 0;
    }
    if (recording.state !== "open") await this.close(upload, recording);
    return true;
  }

  private async open(take: TakeEntry): Promise<Recording> {
    if (take.registered) {
      try {
        return await this.api.recording(take.id);
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 404)) throw error;
      }
    }
    return this.api.openRecording(take.assignmentId, {
      id: take.id,
      fence: take.fence,
      mime: take.mime,
      client_started_at: take.startedAt,
    });
  }

  private async finish(upload: Upload, take: TakeEntry): Promise<void> {
    const bytes = await this.journal.bytes(take.id);
    try {
      const recording = await this.api.finish(take.id, {
        chunks: take.chunks,
        sha256: await sha256(bytes),
        bytes: bytes.byteLength,
        duration_ms: Math.round(take.elapsedMs),
        voiced_ms: Math.round(take.voicedMs),
      });
      await this.close(upload, recording);
    } catch (error) {
      if (hasCode(error, "take_rejected")) {
        const told = error.problem.recording as Recording | undefined;
        await this.close(upload, told ?? (await this.api.recording(take.id)));
      } else if (!(await this.corrected(upload, error))) {
        throw error;
      }
    }
  }

  /** Takes the server's word for where the take stands; true when that settles the error. */
  private async corrected(upload: Upload, error: unknown): Promise<boolean> {
    if (hasCode(error, "chunk_gap")) {
      const expected = error.number("expected");
      if (expected === null || expected === upload.nextSeq) return false;
      upload.nextSeq = expected;
      return true;
    }
    if (hasCode(error, "take_finished")) {
      await this.close(upload, await this.api.recording(upload.id));
      return true;
    }
    return false;
  }

  private async close(upload: Upload, recording: Recording): Promise<void> {
    if (!upload.unwanted) await this.journal.remove(upload.id);
    if (upload.unwanted) {
      await this.tellDiscarded(upload.id);
      this.settle(upload, "discarded");
      return;
    }
    upload.recording = recording;
    upload.sentMs = upload.elapsedMs;
    this.settle(upload, recording.state === "open" ? "finished" : recording.state);
  }

  private async tellDiscarded(id: string): Promise<void> {
    try {
      await this.api.discard(id);
    } catch (error) {
      if (isTemporary(error)) throw error;
    }
    await this.journal.remove(id);
  }

  private settle(upload: Upload, state: UploadState): void {
    upload.state = state;
    upload.waiting = false;
    for (const listener of this.listeners) listener(upload);
    if (state === "discarded") this.uploads.delete(upload.id);
  }
}
