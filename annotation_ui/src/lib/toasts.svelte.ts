export interface Toast {
  id: number;
  text: string;
  action?: { label: string; run: () => void } | undefined;
}

const SHOWN_MS = 6_000;

class Toasts {
  /** One at a time: a newer message replaces the older one. */
  current = $state.raw<Toast | null>(null);
  private timer: ReturnType<typeof setTimeout> | undefined;
  private count = 0;

  show(text: string, action?: Toast["action"], milliseconds = SHOWN_MS): void {
    clearTimeout(this.timer);
    this.count += 1;
    this.current = { id: this.count, text, action };
    this.timer = setTimeout(() => (this.current = null), milliseconds);
  }

  hide(): void {
    clearTimeout(this.timer);
    this.current = null;
  }
}

export const toasts = new Toasts();
