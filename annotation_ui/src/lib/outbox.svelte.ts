/** Answers that are on their way to the server while the person already looks at the next image. */
import { untilAnswered } from "./retry";

export class Outbox {
  /** How many answers the server has not acknowledged yet. */
  pending = $state(0);
  waiting = $state(false);

  private readonly running = new Set<Promise<unknown>>();

  /** Sends until the server answers, whatever page is shown meanwhile. */
  async deliver<T>(request: () => Promise<T>): Promise<T> {
    const sending = untilAnswered(request, { waiting: (waiting) => (this.waiting = waiting) });
    this.pending += 1;
    this.running.add(sending);
    try {
      return await sending;
    } finally {
      this.running.delete(sending);
      this.pending -= 1;
    }
  }

  /** Resolves when nothing is on its way. */
  async empty(): Promise<void> {
    await Promise.allSettled(this.running);
  }
}
