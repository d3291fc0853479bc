import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

import { VoiceMeter, toDbfs } from "./voice";

const SPEECH = new URL("../../../tests/data/speech/01_kitchen.joe.wav", import.meta.url);

function hear(meter: VoiceMeter, samples: Float32Array, rate: number): void {
  const span = rate / 10;
  for (let start = 0; start + span <= samples.length; start += span) {
    const part = samples.subarray(start, start + span);
    const squares = part.reduce((sum, sample) => sum + sample * sample, 0);
    const peak = part.reduce((most, sample) => Math.max(most, Math.abs(sample)), 0);
    meter.add({ rms: Math.sqrt(squares / span), peak, ms: 100 });
  }
}

function noise(seconds: number, amplitude: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: seconds * 16_000 }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2 ** 31;
    return amplitude * ((2 * state) / 2 ** 31 - 1);
  });
}

function speech(): Float32Array {
  const file = readFileSync(SPEECH);
  const samples = new Int16Array(file.buffer, file.byteOffset + 44, (file.length - 44) >> 1);
  return Float32Array.from(samples, (sample) => sample / 32_768);
}

test("counts a spoken description: 66 s, of which Silero hears 65 s of speech", () => {
  const meter = new VoiceMeter();
  hear(meter, speech(), 16_000);
  expect(meter.voicedMs / 1000).toBeGreaterThan(56);
  expect(meter.voicedMs / 1000).toBeLessThan(66);
  expect(meter.clipping).toBe(false);
});

test("counts the same speech over a noisy room", () => {
  const spoken = speech();
  const room = noise(66, 0.004);
  const meter = new VoiceMeter();
  hear(
    meter,
    spoken.map((sample, index) => sample + (room[index] ?? 0)),
    16_000,
  );
  expect(meter.voicedMs / 1000).toBeGreaterThan(54);
});

test("steady noise is not speech, however loud", () => {
  for (const amplitude of [0.001, 0.004]) {
    const meter = new VoiceMeter();
    hear(meter, noise(20, amplitude), 16_000);
    expect(meter.voicedMs).toBeLessThan(2_000);
    expect(meter.stillThere).toBe(true);
    expect(meter.noSignal).toBe(false);
  }
});

test("digital silence is noticed within two seconds, and forgotten with the first sound", () => {
  const meter = new VoiceMeter();
  hear(meter, new Float32Array(16_000), 16_000);
  expect(meter.noSignal).toBe(false);
  hear(meter, new Float32Array(16_000), 16_000);
  expect(meter.noSignal).toBe(true);
  expect(meter.voicedMs).toBe(0);
  meter.add({ rms: 0.1, peak: 0.3, ms: 100 });
  expect(meter.noSignal).toBe(false);
  expect(meter.speaking).toBe(true);
});

test("a short gap between words counts, a long one does not", () => {
  const meter = new VoiceMeter();
  const loud = { rms: 0.1, peak: 0.3, ms: 100 };
  const quiet = { rms: 0.0003, peak: 0.001, ms: 100 };
  meter.add(loud);
  meter.add(quiet);
  meter.add(quiet);
  meter.add(loud);
  expect(meter.voicedMs).toBe(400);
  for (let count = 0; count < 10; count += 1) meter.add(quiet);
  expect(meter.voicedMs).toBe(600);
  expect(meter.silentMs).toBe(800);
});

test("clipping is shown for a while, a pause starts the silence anew", () => {
  const meter = new VoiceMeter();
  meter.add({ rms: 0.7, peak: 1, ms: 100 });
  expect(meter.clipping).toBe(true);
  for (let count = 0; count < 70; count += 1) meter.add({ rms: 0.0003, peak: 0.001, ms: 100 });
  expect(meter.clipping).toBe(false);
  expect(meter.stillThere).toBe(true);
  meter.resume();
  expect(meter.stillThere).toBe(false);
});

test("decibels", () => {
  expect(toDbfs(1)).toBe(0);
  expect(toDbfs(0.1)).toBeCloseTo(-20);
  expect(toDbfs(0)).toBe(-120);
});
