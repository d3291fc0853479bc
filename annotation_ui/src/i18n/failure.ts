import { ApiError, OfflineError } from "../api/client";
import type { Messages } from "./en";

/** What to tell a person about a failed request. */
export function explain(t: Messages, error: unknown): string {
  if (error instanceof OfflineError) return t.app.offline;
  if (!(error instanceof ApiError)) return t.app.broken;
  const text = t.errors[error.code] ?? error.message;
  const wait = error.number("retry_after");
  return wait === null ? text : `${text} ${t.retryIn(wait)}`;
}
