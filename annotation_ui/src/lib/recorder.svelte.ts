/** Turns speech into a journalled take. Knows nothing of the page; the page draws its state. */
import type { Assignment } from "../api/types";
import { sha256, uuid7 } from "./ids";
import type { Journal, TakeEntry } from "./journal";
import { CHUNK_MS, MicrophoneError, openMicrophone, type Microphone, type MicrophoneProblem } from "./microphone";
import type { Uploader } from "./uploader.svelte";
import { VoiceMeter, toDbfs, type Level } from "./voice";

export type RecorderState = "idle" | "asking" | "recording" | "paused" | "stopped" | "uploading" | "finished";

export interface Speaker {
  userId: string;
  assignment: Assignment;
  maxSeconds: number;
}

export class Recorder {
  state = $state<RecorderState>("idle");
  problem = $state<MicrophoneProblem | null>(null);
  elapsedMs = $state(0);
  voicedMs = $state(0);
  /** 0 to 1 on a scale of decibels, for the eye. */
  level = $state(0);
  speaking = $state(false);
  clipping = $state(false);
  noSignal = $state(false);
  stillThere = $state(false);
  microphone = $state("");
  deviceId = $state("");
  takeId = $state<string | null>(null);
  assignmentId = $state<string | null>(null);
  /** The take was ended by the campaign's time limit. */
  reachedLimit = $state(false);

  live = $derived(this.state === "recording" || this.state === "paused" || this.state === "stopped");

  private device: Microphone | null = null;
  private meter = new VoiceMeter();
  private take: TakeEntry | null = null;
  private maxMs = Infinity;
  private runningSince: number | null = null;
  private recordedMs = 0;
  /** Chunks are hashed and written one after the other, in the order in which they came. */
  private writing: Promise<void> = Promise.resolve();
  private ended: Promise<void> = Promise.resolve();
  private wakeLock: WakeLockSentinel | null = null;

  constructor(
    private readonly journal: Journal,
    private readonly uploader: Uploader,
    private readonly open: () => Promise<Microphone> = openMicrophone,
    private readonly now: () => number = () => performance.now(),
  ) {}

  async start({ userId, assignment, maxSeconds }: Speaker): Promise<void> {
    if (this.live || this.state === "asking") return;
    this.reset();
    this.state = "asking";
    let device: Microphone;
    try {
      device = await this.open();
    } catch (error) {
      this.fail(error instanceof MicrophoneError ? error.problem : "failed");
      return;
    }
    try {
      this.take = await this.journal.begin({
        id: uuid7(),
        userId,
        assignmentId: assignment.id,
        fence: assignment.fence,
        campaign: assignment.campaign,
        mime: device.recorder.mimeType,
        startedAt: new Date().toISOString(),
      });
    } catch {
      device.close();
      this.fail("storage");
      return;
    }
    this.device = device;
    this.microphone = device.label;
    this.deviceId = device.deviceId;
    this.takeId = this.take.id;
    this.assignmentId = assignment.id;
    this.maxMs = maxSeconds * 1000;
    device.onlevel = (level) => this.hear(level);
    device.onlost = () => void this.stop("lost");
    device.recorder.ondataavailable = (event) => this.keep(event.data);
    device.recorder.onerror = () => void this.stop("lost");
    this.ended = new Promise((resolve) => {
      device.recorder.onstop = () => {
        resolve();
        // Not asked for by us: the browser ended it, as when the last track of the stream went away.
        void this.stop("lost");
      };
    });
    device.recorder.start(CHUNK_MS);
    this.runningSince = this.now();
    this.state = "recording";
    this.uploader.follow(this.take);
    void this.stayAwake();
  }

  pause(): void {
    if (this.state !== "recording") return;
    this.device?.recorder.pause();
    this.recordedMs = this.clock();
    this.runningSince = null;
    this.elapsedMs = this.recordedMs;
    this.level = 0;
    this.speaking = false;
    this.state = "paused";
    // What was said so far need not wait for the next second to be saved.
    this.device?.recorder.requestData();
  }

  resume(): void {
    if (this.state !== "paused") return;
    this.device?.recorder.resume();
    this.meter.resume();
    this.runningSince = this.now();
    this.state = "recording";
    void this.stayAwake();
  }

  /** Ends the take. Resolves when its last chunk is in the journal; the state moves on by itself afterwards. */
  async stop(problem: MicrophoneProblem | null = null): Promise<void> {
    const { device, take } = this;
    if (device === null || take === null || (this.state !== "recording" && this.state !== "paused")) return;
    this.recordedMs = this.clock();
    this.runningSince = null;
    this.elapsedMs = this.recordedMs;
    this.state = "stopped";
    if (problem) this.problem = problem;
    if (device.recorder.state !== "inactive") device.recorder.stop();
    await this.ended;
    await this.writing;
    device.close();
    this.device = null;
    this.take = null;
    void this.wakeLock?.release();
    this.wakeLock = null;
    const ended = await this.journal.update(take.id, {
      stopped: true,
      elapsedMs: this.recordedMs,
      voicedMs: this.meter.voicedMs,
    });
    if (ended === undefined) {
      this.state = "idle";
      return;
    }
    this.state = "uploading";
    this.whenSettled(take.id);
    this.uploader.grown(ended);
  }

  /** Asks the browser for what it has recorded since the last chunk: the page may be about to go. */
  flush(): void {
    if (this.state === "recording") this.device?.recorder.requestData();
  }

  /** The screen went dark or the tab came back: a wake lock does not survive being hidden. */
  async stayAwake(): Promise<void> {
    if (this.state !== "recording" || document.visibilityState !== "visible" || !("wakeLock" in navigator)) return;
    try {
      this.wakeLock = await navigator.wakeLock.request("screen");
    } catch {
      // Low battery or a system rule: the take goes on all the same.
      this.wakeLock = null;
    }
  }

  reset(): void {
    if (this.live) return;
    this.meter = new VoiceMeter();
    this.state = "idle";
    this.problem = null;
    this.takeId = this.assignmentId = null;
    this.elapsedMs = this.voicedMs = this.recordedMs = this.level = 0;
    this.speaking = this.clipping = this.noSignal = this.stillThere = this.reachedLimit = false;
  }

  private whenSettled(takeId: string): void {
    const stopListening = this.uploader.onSettled((settled) => {
      if (settled.id !== takeId) return;
      stopListening();
      if (this.takeId === takeId) this.state = "finished";
    });
  }

  private fail(problem: MicrophoneProblem): void {
    this.problem = problem;
    this.state = "idle";
  }

  private clock(): number {
    return this.recordedMs + (this.runningSince === null ? 0 : this.now() - this.runningSince);
  }

  private hear(level: Level): void {
    if (this.state !== "recording") return;
    this.meter.add(level);
    this.elapsedMs = this.clock();
    this.voicedMs = this.meter.voicedMs;
    this.level = Math.min(1, Math.max(0, (toDbfs(level.rms) + 60) / 54));
    this.speaking = this.meter.speaking;
    this.clipping = this.meter.clipping;
    this.noSignal = this.meter.noSignal;
    this.stillThere = this.meter.stillThere;
    if (this.elapsedMs >= this.maxMs) {
      this.reachedLimit = true;
      void this.stop();
    }
  }

  private keep(data: Blob): void {
    const { take } = this;
    if (take === null || data.size === 0) return;
    const elapsedMs = this.clock();
    const { voicedMs } = this.meter;
    this.writing = this.writing.then(async () => {
      if (this.problem === "storage") return;
      try {
        const bytes = await data.arrayBuffer();
        const grown = await this.journal.append({
          takeId: take.id,
          bytes,
          sha256: await sha256(bytes),
          elapsedMs,
          voicedMs,
          createdAt: new Date().toISOString(),
        });
        this.uploader.grown(grown);
      } catch {
        // The disk is full or the storage was cleared. What follows would only come after a gap.
        this.problem = "storage";
        void this.stop("storage");
      }
    });
  }
}
