/** Everything about getting sound into the page: permission, devices, formats, level readings. */
import workletUrl from "./meter.worklet.js?url";
import type { Level } from "./voice";

export type MicrophoneProblem =
  "insecure" | "unsupported" | "denied" | "missing" | "busy" | "lost" | "storage" | "failed";

export class MicrophoneError extends Error {
  constructor(
    readonly problem: MicrophoneProblem,
    cause?: unknown,
  ) {
    super(`microphone: ${problem}`, { cause });
    this.name = "MicrophoneError";
  }
}

/** In the order of preference: what most decoders read, then what Safari before 18.4 can write. */
const MIMES = ["audio/webm;codecs=opus", "audio/mp4", "audio/ogg;codecs=opus"];
const BITS_PER_SECOND = 32_000;
const CHUNK_MS = 1_000;
const CHOSEN_KEY = "pixmo.microphone";

/** Why this page cannot record at all, or null. Browsers hide the microphone from pages sent without encryption. */
export function cannotRecord(): MicrophoneProblem | null {
  if (!globalThis.isSecureContext) return "insecure";
  if (!navigator.mediaDevices?.getUserMedia || typeof MediaRecorder === "undefined") return "unsupported";
  return chooseMime() === null ? "unsupported" : null;
}

export function chooseMime(): string | null {
  return MIMES.find((mime) => MediaRecorder.isTypeSupported(mime)) ?? null;
}

export function problemOf(error: unknown): MicrophoneProblem {
  switch (error instanceof Error ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return "denied";
    case "NotFoundError":
    case "OverconstrainedError":
      return "missing";
    case "NotReadableError":
    case "AbortError":
      return "busy";
    default:
      return "failed";
  }
}

export interface Device {
  id: string;
  label: string;
}

/** The microphones of this machine. Browsers name them only after the permission was given. */
export async function microphones(): Promise<Device[]> {
  const devices = (await navigator.mediaDevices?.enumerateDevices()) ?? [];
  return devices
    .filter((device) => device.kind === "audioinput" && device.deviceId !== "")
    .map((device) => ({ id: device.deviceId, label: device.label }));
}

export function chosenMicrophone(): string {
  return localStorage.getItem(CHOSEN_KEY) ?? "";
}

export function chooseMicrophone(id: string): void {
  localStorage.setItem(CHOSEN_KEY, id);
}

/** What a `Recorder` records from. The browser's own is `openMicrophone`. */
export interface Microphone {
  label: string;
  deviceId: string;
  recorder: MediaRecorder;
  onlevel: (level: Level) => void;
  onlost: () => void;
  close(): void;
}

async function openStream(): Promise<MediaStream> {
  const constraints = (deviceId: string): MediaStreamConstraints => ({
    audio: {
      echoCancellation: false,
      noiseSuppression: false,
      autoGainControl: false,
      channelCount: 1,
      ...(deviceId ? { deviceId: { exact: deviceId } } : {}),
    },
  });
  const chosen = chosenMicrophone();
  try {
    return await navigator.mediaDevices.getUserMedia(constraints(chosen));
  } catch (error) {
    // The chosen one is no longer plugged in: any other is better than none.
    if (chosen && problemOf(error) === "missing") return navigator.mediaDevices.getUserMedia(constraints(""));
    throw error;
  }
}

export async function openMicrophone(): Promise<Microphone> {
  const problem = cannotRecord();
  if (problem) throw new MicrophoneError(problem);
  let stream: MediaStream;
  try {
    stream = await openStream();
  } catch (error) {
    throw new MicrophoneError(problemOf(error), error);
  }
  const context = new AudioContext();
  try {
    // Not awaited: a browser that holds sound back until the next click would never answer.
    void context.resume();
    await context.audioWorklet.addModule(workletUrl);
    const meter = new AudioWorkletNode(context, "level-meter", { numberOfInputs: 1, numberOfOutputs: 1 });
    context.createMediaStreamSource(stream).connect(meter).connect(context.destination);
    const recorder = new MediaRecorder(stream, {
      mimeType: chooseMime()!,
      audioBitsPerSecond: BITS_PER_SECOND,
    });
    const [track] = stream.getAudioTracks();
    const microphone: Microphone = {
      label: track?.label ?? "",
      deviceId: track?.getSettings().deviceId ?? "",
      recorder,
      onlevel: () => {},
      onlost: () => {},
      close() {
        for (const open of stream.getTracks()) open.stop();
        void context.close();
      },
    };
    meter.port.onmessage = (event: MessageEvent<Level>) => microphone.onlevel(event.data);
    if (track) track.onended = () => microphone.onlost();
    return microphone;
  } catch (error) {
    for (const open of stream.getTracks()) open.stop();
    void context.close();
    throw new MicrophoneError("failed", error);
  }
}

export { CHUNK_MS };
