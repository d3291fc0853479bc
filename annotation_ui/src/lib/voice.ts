/**
 * Finds speech in a stream of level readings: energy above an adaptive noise floor, with a hangover.
 * The server measures again with a better detector; this one only has to be steady and a little strict.
 */

/** One reading of the microphone. `rms` and `peak` are linear, 0 to 1; `ms` is the span it covers. */
export interface Level {
  rms: number;
  peak: number;
  ms: number;
}

/** Below this a microphone gives nothing at all: muted, unplugged, or the wrong one. */
const DEAD_DBFS = -66;
const NO_SIGNAL_MS = 1_400;
const ABOVE_FLOOR_DB = 9;
const QUIETEST_SPEECH_DBFS = -52;
const FLOOR_MIN_DBFS = -80;
const FLOOR_MAX_DBFS = -38;
const HANGOVER_MS = 300;
const STILL_THERE_MS = 6_000;
const CLIPPED_PEAK = 0.985;
const CLIP_MEMORY_MS = 4_000;

export function toDbfs(amplitude: number): number {
  return amplitude > 1e-6 ? 20 * Math.log10(amplitude) : -120;
}

export class VoiceMeter {
  /** Milliseconds of speech so far, gaps shorter than the hangover included. */
  voicedMs = 0;
  /** Milliseconds since the last speech. */
  silentMs = 0;
  speaking = false;
  noSignal = false;

  private floor = -60;
  private hangover = 0;
  private deadMs = 0;
  private clipMs = 0;

  get clipping(): boolean {
    return this.clipMs > 0;
  }

  /** Long silence from somebody who has a working microphone. */
  get stillThere(): boolean {
    return !this.noSignal && this.silentMs >= STILL_THERE_MS;
  }

  add(level: Level): void {
    const db = toDbfs(level.rms);
    this.deadMs = toDbfs(level.peak) < DEAD_DBFS ? this.deadMs + level.ms : 0;
    this.noSignal = this.deadMs >= NO_SIGNAL_MS;

    const loud = db > Math.max(this.floor + ABOVE_FLOOR_DB, QUIETEST_SPEECH_DBFS);
    // The floor falls at once with the quiet between words and climbs slowly, so that a voice is not taken for noise.
    const rate = db < this.floor ? 0.4 : 0.004;
    this.floor = Math.min(FLOOR_MAX_DBFS, Math.max(FLOOR_MIN_DBFS, this.floor + rate * (db - this.floor)));

    this.hangover = loud ? HANGOVER_MS : Math.max(0, this.hangover - level.ms);
    this.speaking = loud || this.hangover > 0;
    if (this.speaking) {
      this.voicedMs += level.ms;
      this.silentMs = 0;
    } else {
      this.silentMs += level.ms;
    }
    this.clipMs = level.peak >= CLIPPED_PEAK ? CLIP_MEMORY_MS : Math.max(0, this.clipMs - level.ms);
  }

  /** After a pause: silence counts anew, the learnt noise floor stays. */
  resume(): void {
    this.silentMs = 0;
    this.deadMs = 0;
    this.hangover = 0;
  }
}
