import { isTemporary } from "../api/client";

/**
 * Milliseconds to wait before try number `attempt` (from 1): doubling from half a second to a
 * ceiling of 15 s, with the upper half random, so that a restarted server is not hit by all at once.
 */
export function backoff(attempt: number, random: () => number = Math.random): number {
  const ceiling = Math.min(15_000, 500 * 2 ** (attempt - 1));
  return ceiling / 2 + (ceiling / 2) * random();
}

/** Waits, but no longer than until the browser says that the network is back or `wake` resolves. */
export async function pause(milliseconds: number, wake?: Promise<void>): Promise<void> {
  await new Promise<void>((resolve) => {
    const done = () => {
      clearTimeout(timer);
      removeEventListener("online", done);
      resolve();
    };
    const timer = setTimeout(done, milliseconds);
    addEventListener("online", done);
    void wake?.then(done);
  });
}

export interface Patience {
  /** Told whenever it begins or ends to wait for another try. */
  waiting?: (waiting: boolean) => void;
  /** Nobody wants the answer any more. */
  givenUp?: () => boolean;
}

/** Repeats a request until an answer comes. Only for requests that are safe to repeat: client ids make them so. */
export async function untilAnswered<T>(request: () => Promise<T>, patience: Patience = {}): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      const answer = await request();
      patience.waiting?.(false);
      return answer;
    } catch (error) {
      if (!isTemporary(error) || patience.givenUp?.()) {
        patience.waiting?.(false);
        throw error;
      }
      patience.waiting?.(true);
      await pause(backoff(attempt));
    }
  }
}
