// Reports the microphone's level about ten times a second. Runs on the audio thread.
const SPAN_SECONDS = 0.1;

class LevelMeter extends AudioWorkletProcessor {
  constructor() {
    super();
    this.squares = 0;
    this.peak = 0;
    this.count = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const channel = inputs[0]?.[0];
    // No input at all counts as silence, so that a dead microphone is noticed.
    const length = channel?.length ?? 128;
    if (channel) {
      for (const sample of channel) {
        this.squares += sample * sample;
        const size = Math.abs(sample);
        if (size > this.peak) this.peak = size;
      }
    }
    this.count += length;
    if (this.count >= sampleRate * SPAN_SECONDS) {
      this.port.postMessage({
        rms: Math.sqrt(this.squares / this.count),
        peak: this.peak,
        ms: (1000 * this.count) / sampleRate,
      });
      this.squares = 0;
      this.peak = 0;
      this.count = 0;
    }
    return true;
  }
}

registerProcessor("level-meter", LevelMeter);
