/** The day's work on one campaign: the image at hand, the next one ready behind it, and what becomes of both. */
import { ApiError, hasCode, isTemporary, type Api } from "../api/client";
import type { CampaignDetails, Recording, SkipReason, Submission } from "../api/types";
import { backoff, pause, untilAnswered } from "./retry";
import { uuid7 } from "./ids";
import type { Draft, Journal } from "./journal";
import type { Outbox } from "./outbox.svelte";
import { blockerOf, phaseOf, type Blocker, type Phase } from "./phase";
import type { Recorder } from "./recorder.svelte";
import type { Upload, Uploader } from "./uploader.svelte";
import { Work } from "./work.svelte";

export interface Notices {
  submitted(undoSeconds: number): void;
  skipped(): void;
  undone(): void;
  nothingToUndo(): void;
  failed(error: unknown): void;
}

const HEARTBEAT_MS = 60_000;
const POLL_MS = 700;
const POLL_PARKED_MS = 5_000;
const OFFER_AFTER_MS = 15_000;
/** The one at hand, the one behind it, and one that an undo pushed back. */
const MOST_HELD = 3;

export class TaskSession {
  queue = $state.raw<Work[]>([]);
  /** "loading" until the first answer; "empty" when nothing is left. */
  state = $state<"loading" | "working" | "empty" | "failed">("loading");
  failure = $state.raw<unknown>(null);
  submitting = $state(false);
  /** A request is being tried again because no answer came. */
  waiting = $state(false);
  doneHere = $state(0);

  current = $derived<Work | null>(this.queue[0] ?? null);
  upload: Upload | null = $derived.by(() => {
    const id = this.current?.assignment.id;
    const mine = [...this.uploader.uploads.values()].filter((upload) => upload.assignmentId === id && !upload.unwanted);
    return mine.at(-1) ?? null;
  });
  phase: Phase = $derived.by(() => {
    const { current, recorder, upload } = this;
    if (!current) return "ready";
    return phaseOf(current.recording, upload, recorder.live && recorder.assignmentId === current.assignment.id);
  });
  /** Seconds of speech in the take: the server's measure once there is one. */
  voicedSeconds: number = $derived.by(() => {
    const { current, recorder, upload } = this;
    if (current && recorder.live && recorder.assignmentId === current.assignment.id) return recorder.voicedMs / 1000;
    return current?.recording?.voiced_s ?? (upload ? upload.voicedMs / 1000 : 0);
  });
  enough: boolean = $derived.by(() => this.voicedSeconds >= this.campaign.min_voiced_seconds);
  blocker: Blocker | null = $derived.by(() => {
    const { current, phase, enough, campaign } = this;
    if (current?.leaseLost) return "lease_lost";
    return blockerOf(phase, enough, (current?.words ?? 0) >= campaign.min_words);
  });
  /** The transcript is not there, but the take may go without it. */
  mayHurry = $derived(
    this.blocker === "transcript" && (this.phase === "parked" || (this.current?.waitedLong ?? false)),
  );
  recovered = $derived(this.upload?.recovered && !this.upload.seen ? this.upload : null);

  private lastSubmitted: { id: string; draft: Draft } | null = null;
  private fetching: Promise<void> | null = null;
  private exhausted = false;
  /** Assignments whose answer is not acknowledged: still leased, but no longer to be worked on. */
  private readonly travelling = new Set<string>();
  private polling: Work | null = null;
  private heartbeat: ReturnType<typeof setInterval> | undefined;
  private stopListening: () => void = () => {};
  private closed = false;

  constructor(
    readonly campaign: CampaignDetails,
    readonly recorder: Recorder,
    private readonly uploader: Uploader,
    private readonly api: Api,
    private readonly journal: Journal,
    private readonly outbox: Outbox,
    private readonly notices: Notices,
    private readonly pollMs = POLL_MS,
  ) {}

  async open(): Promise<void> {
    this.stopListening = this.uploader.onSettled((upload) => this.settled(upload));
    this.heartbeat = setInterval(() => void this.beat(), HEARTBEAT_MS);
    await this.fill();
  }

  /** The page goes away. Leases run out by themselves; a running take is ended and kept. */
  async close(): Promise<void> {
    this.closed = true;
    clearInterval(this.heartbeat);
    this.stopListening();
    this.polling = null;
    await this.recorder.stop();
  }

  async retry(): Promise<void> {
    this.state = "loading";
    this.exhausted = false;
    await this.fill();
  }

  /**
   * Hands the work at hand in. When the next image is ready it is shown at once, and the answer travels behind it;
   * until the server has acknowledged it, text and ticks stay in the journal.
   */
  async submit(withoutTranscript = false): Promise<void> {
    const { current } = this;
    const recording = current?.recording;
    if (!current || !recording || this.submitting) return;
    if (this.blocker !== null && !(withoutTranscript && this.mayHurry)) return;
    performance.mark("pixmo:submit");
    current.refusal = null;
    current.submissionId ??= uuid7();
    const draft = current.draft();
    const delivered = this.deliver(current, draft, {
      fence: current.assignment.fence,
      submission_id: current.submissionId,
      recording_id: recording.id,
      text: recording.transcript ? current.text.trim() : null,
      covered: draft.covered,
      elapsed_ms: draft.elapsedMs,
    });
    if (this.queue.length > 1) {
      await this.advance();
      return;
    }
    this.submitting = true;
    if (await delivered) await this.advance();
    this.submitting = false;
  }

  async skip(reason: SkipReason, note: string): Promise<void> {
    const { current } = this;
    if (!current || this.submitting) return;
    this.submitting = true;
    const { fence } = current.assignment;
    try {
      await this.recorder.stop();
      await this.insist(() => this.api.skip(current.assignment.id, { fence, reason, ...(note ? { note } : {}) }));
      void this.done(current);
      await this.advance();
      this.notices.skipped();
    } catch (error) {
      if (hasCode(error, "lease_lost")) this.lost(current);
      else this.notices.failed(error);
    } finally {
      this.submitting = false;
    }
  }

  /** Takes the last submission back. What was at hand waits behind it. */
  async undo(): Promise<void> {
    if (this.recorder.live || this.submitting) return;
    this.submitting = true;
    try {
      await this.outbox.empty();
      const id = this.lastSubmitted?.id ?? (await this.api.last(this.campaign.name))?.assignment_id;
      if (id === undefined) {
        this.notices.nothingToUndo();
        return;
      }
      const work = new Work(await this.api.undo(id), this.journal);
      if (this.lastSubmitted?.id === id) {
        work.apply(this.lastSubmitted.draft);
        this.doneHere = Math.max(0, this.doneHere - 1);
      }
      this.lastSubmitted = null;
      await work.loadImage();
      this.current?.deactivate();
      this.recorder.reset();
      this.queue = [work, ...this.queue].slice(0, MOST_HELD);
      this.begin();
      this.notices.undone();
    } catch (error) {
      if (hasCode(error, "cannot_undo")) {
        this.lastSubmitted = null;
        this.notices.nothingToUndo();
      } else {
        this.notices.failed(error);
      }
    } finally {
      this.submitting = false;
    }
  }

  /** Throws the take away, be it running, on its way or on the server, so that another can be recorded. */
  async redo(): Promise<void> {
    const { current } = this;
    if (!current) return;
    const { recording } = current;
    const unsent = this.upload?.id;
    await this.recorder.stop();
    if (unsent !== undefined) await this.uploader.discard(unsent);
    // A newer take supersedes this one on the server even when this message does not arrive.
    if (recording) void this.api.discard(recording.id).catch(() => {});
    this.polling = null;
    this.recorder.reset();
    current.clear();
  }

  /** The image at hand went to somebody else: on to the next. */
  async leave(): Promise<void> {
    const { current } = this;
    await this.recorder.stop();
    if (current) void this.done(current);
    await this.advance();
  }

  async beat(): Promise<void> {
    await Promise.all(
      this.queue.map(async (work) => {
        try {
          await this.api.heartbeat(work.assignment.id, work.assignment.fence);
        } catch (error) {
          if (hasCode(error, "lease_lost")) this.lost(work);
        }
      }),
    );
  }

  private async deliver(work: Work, draft: Draft, submission: Submission): Promise<boolean> {
    const { id } = work.assignment;
    this.travelling.add(id);
    try {
      const answer = await this.outbox.deliver(() => this.api.submit(id, submission));
      performance.mark("pixmo:submitted");
      this.lastSubmitted = { id, draft };
      this.doneHere += 1;
      void this.done(work);
      this.notices.submitted(answer.undo_seconds ?? 0);
      return true;
    } catch (error) {
      work.submissionId = null;
      this.returned(work, error);
      return false;
    } finally {
      this.travelling.delete(id);
      void this.fill();
    }
  }

  /** The server would not have it. It comes back to the person, but not into the middle of a sentence. */
  private returned(work: Work, error: unknown): void {
    if (hasCode(error, "lease_lost")) work.leaseLost = true;
    else if (error instanceof ApiError) work.refusal = error;
    else this.notices.failed(error);
    if (this.queue.includes(work) || this.closed) return;
    const place = this.recorder.live ? 1 : 0;
    if (place === 0) this.current?.deactivate();
    this.queue = this.queue.toSpliced(place, 0, work);
    if (place === 0) this.begin();
  }

  /** The server has what was to be kept of this work. */
  private async done(work: Work): Promise<void> {
    this.uploader.forget(work.assignment.id);
    await work.close();
  }

  private async advance(): Promise<void> {
    this.queue[0]?.deactivate();
    this.polling = null;
    this.recorder.reset();
    this.queue = this.queue.slice(1);
    if (this.queue.length > 0) {
      this.begin();
      void this.fill();
    } else {
      this.state = "loading";
      this.exhausted = false;
      await this.fill();
    }
  }

  /** The first of the queue is now on the page. */
  private begin(): void {
    const { current } = this;
    if (!current) return;
    this.state = "working";
    localStorage.setItem(`pixmo.at.${this.campaign.name}`, current.assignment.id);
    current.activate();
    this.watch(current);
  }

  /** Fetches until the one at hand and the one behind it are there, or nothing is left. */
  private fill(): Promise<void> {
    this.fetching ??= this.fetchAll().finally(() => (this.fetching = null));
    return this.fetching;
  }

  private async fetchAll(): Promise<void> {
    try {
      while (this.queue.length < 2 && !this.exhausted && !this.closed) {
        const leased = this.queue.length === 0 ? await this.resume() : [await this.lease()];
        for (const work of leased) {
          if (work === null || this.queue.some((held) => held.assignment.id === work.assignment.id)) return;
          await Promise.all([work.loadImage(), work.restoreDraft()]);
          this.queue = [...this.queue, work];
          if (this.queue.length === 1) this.begin();
        }
      }
    } catch (error) {
      if (this.queue.length === 0) {
        this.failure = error;
        this.state = "failed";
      }
    } finally {
      if (this.queue.length === 0 && this.state !== "failed") this.state = "empty";
    }
  }

  /** What the person was busy with before a reload comes first, in whatever order the server keeps its leases. */
  private async resume(): Promise<(Work | null)[]> {
    const first = await this.lease();
    if (first === null || this.remembered === null || this.wasBusyWith(first)) return [first];
    const second = await this.lease(first);
    return second !== null && this.wasBusyWith(second) ? [second, first] : [first, second];
  }

  private wasBusyWith({ assignment, recording }: Work): boolean {
    const taken = [...this.uploader.uploads.values()].some((upload) => upload.assignmentId === assignment.id);
    return recording !== null || taken || assignment.id === this.remembered;
  }

  private get remembered(): string | null {
    return localStorage.getItem(`pixmo.at.${this.campaign.name}`);
  }

  private async lease(...besides: Work[]): Promise<Work | null> {
    const hold = [...this.queue, ...besides].map((work) => work.assignment.id).concat(...this.travelling);
    const assignment = await this.insist(() => this.api.next(this.campaign.name, hold), this.queue.length === 0);
    // With an answer still on its way, none only means that one person may not hold more.
    if (assignment === null) this.exhausted = this.travelling.size === 0;
    return assignment && new Work(assignment, this.journal);
  }

  private insist<T>(request: () => Promise<T>, tell = true): Promise<T> {
    return untilAnswered(request, {
      waiting: (waiting) => {
        if (tell) this.waiting = waiting;
      },
      givenUp: () => this.closed,
    });
  }

  private lost(work: Work): void {
    work.leaseLost = true;
    if (work === this.current) {
      void this.recorder.stop();
    } else {
      this.queue = this.queue.filter((held) => held !== work);
      void this.fill();
    }
  }

  private settled(upload: Upload): void {
    const work = this.queue.find((held) => held.assignment.id === upload.assignmentId);
    if (!work) return;
    if (upload.state === "refused" && upload.refusal === "lease_lost") this.lost(work);
    if (upload.recording === null || (upload.state !== "finished" && upload.state !== "rejected")) return;
    work.recording = upload.recording;
    if (work === this.current) this.watch(work);
  }

  /** Follows the transcription of the work at hand. */
  private watch(work: Work): void {
    if (this.polling === work || !work.recording || work.recording.state !== "finished") return;
    this.polling = work;
    void this.poll(work);
  }

  private async poll(work: Work): Promise<void> {
    const offer = setTimeout(() => (work.waitedLong = true), OFFER_AFTER_MS);
    for (let failures = 0; this.polling === work && work.recording && awaited(work.recording);) {
      const parked = work.recording.transcription.state === "parked";
      await pause(failures > 0 ? backoff(failures) : parked ? POLL_PARKED_MS : this.pollMs);
      if (this.polling !== work || !work.recording) break;
      try {
        const fresh = await this.api.recording(work.recording.id);
        if (this.polling === work && fresh.state !== "discarded") work.recording = fresh;
        failures = 0;
      } catch (error) {
        if (!isTemporary(error)) break;
        failures += 1;
      }
    }
    clearTimeout(offer);
    if (this.polling === work) this.polling = null;
  }
}

function awaited(recording: Recording): boolean {
  const { state } = recording.transcription;
  return (
    !recording.transcript && (state === "queued" || state === "running" || state === "retrying" || state === "parked")
  );
}
