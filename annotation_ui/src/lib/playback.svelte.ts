/** Plays a take and says where it is. */
export class Playback {
  playing = $state(false);
  /** Seconds into the take. */
  time = $state(0);
  duration = $state(0);
  failed = $state(false);

  private audio: HTMLAudioElement | null = null;
  private frame = 0;

  constructor(private readonly create: () => HTMLAudioElement = () => new Audio()) {}

  /** `duration` comes from the server: a browser's own recording says nothing or "infinite". */
  load(url: string, duration: number): void {
    if (this.audio?.src.endsWith(url)) return;
    this.unload();
    const audio = this.create();
    audio.preload = "auto";
    audio.src = url;
    audio.onplay = () => {
      this.playing = true;
      this.failed = false;
      this.follow();
    };
    audio.onpause = audio.onended = () => {
      this.playing = false;
      this.time = audio.currentTime;
    };
    audio.onerror = () => {
      this.playing = false;
      this.failed = true;
    };
    this.audio = audio;
    this.duration = duration;
  }

  unload(): void {
    cancelAnimationFrame(this.frame);
    if (this.audio) {
      this.audio.pause();
      this.audio.onplay = this.audio.onpause = this.audio.onended = this.audio.onerror = null;
      this.audio.removeAttribute("src");
    }
    this.audio = null;
    this.playing = this.failed = false;
    this.time = this.duration = 0;
  }

  toggle(): void {
    if (this.playing) this.pause();
    else this.play();
  }

  play(): void {
    const { audio } = this;
    if (!audio) return;
    if (this.duration > 0 && audio.currentTime >= this.duration - 0.05) audio.currentTime = 0;
    audio.play().catch((error: unknown) => {
      // A pause that follows at once is no failure.
      if (!(error instanceof DOMException && error.name === "AbortError")) this.failed = true;
    });
  }

  pause(): void {
    this.audio?.pause();
  }

  seek(seconds: number): void {
    if (!this.audio) return;
    this.time = Math.min(Math.max(0, seconds), this.duration || Infinity);
    this.audio.currentTime = this.time;
  }

  playFrom(seconds: number): void {
    this.seek(seconds);
    this.play();
  }

  private follow = (): void => {
    if (!this.audio || !this.playing) return;
    this.time = this.audio.currentTime;
    this.frame = requestAnimationFrame(this.follow);
  };
}
