import { beforeEach, expect, test } from "vitest";

import { Playback } from "./playback.svelte";

class Sound extends EventTarget {
  src = "";
  preload = "";
  currentTime = 0;
  paused = true;
  onplay: () => void = () => {};
  onpause: () => void = () => {};
  onended: () => void = () => {};
  onerror: () => void = () => {};
  failure: Error | null = null;
  async play() {
    if (this.failure) throw this.failure;
    this.paused = false;
    this.onplay();
  }
  pause() {
    this.paused = true;
    this.onpause();
  }
  removeAttribute() {
    this.src = "";
  }
}

let sound: Sound;
let playback: Playback;

beforeEach(() => {
  Object.assign(globalThis, { requestAnimationFrame: () => 1, cancelAnimationFrame: () => {} });
  playback = new Playback(() => (sound = new Sound()) as unknown as HTMLAudioElement);
  playback.load("/audio/1", 12);
});

test("plays from a word and says where it is", () => {
  playback.playFrom(3.5);
  expect(sound.currentTime).toBe(3.5);
  expect(playback).toMatchObject({ playing: true, time: 3.5, duration: 12 });
  sound.currentTime = 5;
  playback.toggle();
  expect(playback).toMatchObject({ playing: false, time: 5 });
});

test("stays within the take, and starts over after its end", () => {
  playback.seek(-4);
  expect(playback.time).toBe(0);
  playback.seek(99);
  expect(sound.currentTime).toBe(12);
  playback.play();
  expect(sound.currentTime).toBe(0);
});

test("keeps the sound it has, and changes to another take's", () => {
  const first = sound;
  playback.load("/audio/1", 12);
  expect(sound).toBe(first);
  playback.load("/audio/2", 7);
  expect(sound).not.toBe(first);
  expect(playback).toMatchObject({ playing: false, time: 0, duration: 7 });
});

test("says when the sound does not come, but not when it was only paused", async () => {
  sound.failure = new DOMException("", "AbortError");
  playback.play();
  await Promise.resolve();
  expect(playback.failed).toBe(false);
  sound.failure = new DOMException("", "NotSupportedError");
  playback.play();
  await new Promise((resolve) => setTimeout(resolve));
  expect(playback.failed).toBe(true);
});
