/** Where the work on an image stands, and what is missing before it can be handed in. */
import type { Recording } from "../api/types";
import type { Upload } from "./uploader.svelte";

export type Phase =
  "ready" | "recording" | "sending" | "transcribing" | "parked" | "no_speech" | "review" | "rejected" | "refused";

/** Why the work at hand cannot be submitted now. */
export type Blocker =
  | "no_take"
  | "recording"
  | "sending"
  | "unusable"
  | "too_short"
  | "no_speech"
  | "transcript"
  | "too_few_words"
  | "lease_lost";

/** `recording` is the take as the server knows it, `upload` as this browser does; `live` while it is being spoken. */
export function phaseOf(recording: Recording | null, upload: Upload | null, live: boolean): Phase {
  if (live) return "recording";
  if (upload?.state === "sending") return "sending";
  if (upload?.state === "refused") return "refused";
  if (!recording || recording.state === "open" || recording.state === "discarded") return "ready";
  if (recording.state === "rejected") return "rejected";
  const { outcome, state } = recording.transcription;
  if (outcome === "no_speech") return "no_speech";
  if (recording.transcript) return "review";
  return state === "parked" ? "parked" : "transcribing";
}

export function blockerOf(phase: Phase, enoughSpeech: boolean, enoughWords: boolean): Blocker | null {
  switch (phase) {
    case "ready":
      return "no_take";
    case "recording":
    case "sending":
    case "no_speech":
      return phase;
    case "rejected":
    case "refused":
      return "unusable";
    case "transcribing":
    case "parked":
      return enoughSpeech ? "transcript" : "too_short";
    case "review":
      if (!enoughSpeech) return "too_short";
      return enoughWords ? null : "too_few_words";
  }
}
