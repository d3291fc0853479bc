/** One image at hand: its assignment, its take as the server knows it, and what the person has typed and ticked. */
import { SvelteSet } from "svelte/reactivity";

import type { ApiError } from "../api/client";
import type { Assignment, Recording } from "../api/types";
import type { Draft, Journal } from "./journal";
import { align, countWords, type Token } from "./words";

const SAVE_DRAFT_MS = 300;

export class Work {
  readonly assignment: Assignment;
  readonly covered = new SvelteSet<string>();
  /** The image, loaded and decoded; the viewer puts this very element on the page. */
  image = $state.raw<HTMLImageElement | null>(null);
  imageBroken = $state(false);
  recording = $state.raw<Recording | null>(null);
  /** What the person made of the transcript; null while it is untouched. */
  edited = $state<string | null>(null);
  leaseLost = $state(false);
  /** The transcript has been awaited for so long that submitting without it is offered. */
  waitedLong = $state(false);
  /** Why the server did not take the submission. */
  refusal = $state.raw<ApiError | null>(null);
  submissionId: string | null = null;

  text = $derived(this.edited ?? this.recording?.transcript?.text ?? "");
  tokens: Token[] = $derived(align(this.text, this.recording?.transcript?.words ?? []));
  words = $derived(countWords(this.text));

  private activeMs = 0;
  private activeSince: number | null = null;
  private saving: ReturnType<typeof setTimeout> | undefined;

  constructor(
    assignment: Assignment,
    private readonly journal: Journal,
    private readonly now: () => number = () => performance.now(),
  ) {
    this.assignment = assignment;
    const { recording } = assignment;
    this.recording = recording && recording.state !== "discarded" ? recording : null;
  }

  /** True when the image was there in time; a broken one is for the person to skip. */
  async loadImage(): Promise<void> {
    const element = new Image();
    element.src = this.assignment.image.url;
    try {
      await element.decode();
      this.image = element;
    } catch {
      this.imageBroken = true;
    }
  }

  async restoreDraft(): Promise<void> {
    const draft = await this.journal.draft(this.assignment.id);
    if (draft) this.apply(draft);
  }

  apply(draft: Draft): void {
    for (const id of draft.covered) this.covered.add(id);
    this.activeMs += draft.elapsedMs;
    if (draft.text !== null && draft.recordingId === (this.recording?.id ?? null)) this.edited ??= draft.text;
  }

  draft(): Draft {
    return {
      assignmentId: this.assignment.id,
      recordingId: this.recording?.id ?? null,
      text: this.edited,
      covered: [...this.covered],
      elapsedMs: this.elapsedMs,
    };
  }

  edit(text: string): void {
    this.edited = text === this.recording?.transcript?.text ? null : text;
    this.saveSoon();
  }

  tick(question: string): void {
    if (!this.covered.delete(question)) this.covered.add(question);
    this.saveSoon();
  }

  /** Ready for another take. */
  clear(): void {
    this.recording = null;
    this.edited = null;
    this.waitedLong = false;
    this.refusal = null;
    this.submissionId = null;
    this.covered.clear();
    this.saveSoon();
  }

  get elapsedMs(): number {
    return Math.round(this.activeMs + (this.activeSince === null ? 0 : this.now() - this.activeSince));
  }

  activate(): void {
    this.activeSince ??= this.now();
  }

  deactivate(): void {
    this.activeMs = this.elapsedMs;
    this.activeSince = null;
  }

  /** Nothing more will be typed here. */
  async close(): Promise<void> {
    clearTimeout(this.saving);
    this.deactivate();
    await this.journal.removeDraft(this.assignment.id);
  }

  private saveSoon(): void {
    clearTimeout(this.saving);
    this.saving = setTimeout(() => void this.journal.saveDraft(this.draft()), SAVE_DRAFT_MS);
  }
}
