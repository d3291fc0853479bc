/** The only module that talks HTTP. Every failure leaves it as an `ApiError` or an `OfflineError`. */
import type {
  AcceptInvite,
  AdminStatus,
  Assignment,
  Campaign,
  CampaignDetails,
  Caption,
  CreateInvite,
  FinishTake,
  Invite,
  InviteDetails,
  LastSubmission,
  Me,
  Recording,
  Skip,
  StartTake,
  Submission,
} from "./types";

interface Problem {
  title?: string;
  detail?: string;
  code?: string;
  [extra: string]: unknown;
}

/** A problem document (RFC 9457) that the server answered. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly problem: Problem,
  ) {
    super(problem.detail ?? problem.title ?? `HTTP ${status}`);
    this.name = "ApiError";
  }

  /** True when the same request may succeed later: the fault is not in the request. */
  get temporary(): boolean {
    return this.status >= 500 || this.status === 408 || this.status === 429;
  }

  number(name: string): number | null {
    const value = this.problem[name];
    return typeof value === "number" ? value : null;
  }

  text(name: string): string | null {
    const value = this.problem[name];
    return typeof value === "string" ? value : null;
  }
}

/** No answer came: no network, a server that is down, or a request that took too long. */
export class OfflineError extends Error {
  constructor(cause: unknown) {
    super("The server cannot be reached.", { cause });
    this.name = "OfflineError";
  }
}

export function hasCode(error: unknown, ...codes: string[]): error is ApiError {
  return error instanceof ApiError && codes.includes(error.code);
}

export function isTemporary(error: unknown): boolean {
  return error instanceof OfflineError || (error instanceof ApiError && error.temporary);
}

const TIMEOUT_MS = 20_000;

export class Api {
  /** Called when a request other than signing in is answered 401. */
  onSignedOut: () => void = () => {};

  constructor(private readonly base = "") {}

  private async send(method: string, path: string, init: RequestInit = {}): Promise<Response> {
    let response: Response;
    try {
      response = await fetch(this.base + path, {
        method,
        credentials: "same-origin",
        signal: AbortSignal.timeout(TIMEOUT_MS),
        ...init,
      });
    } catch (error) {
      throw new OfflineError(error);
    }
    if (response.ok) return response;
    const problem = await readProblem(response);
    const error = new ApiError(response.status, problem.code ?? `http_${response.status}`, problem);
    if (error.code === "not_signed_in") this.onSignedOut();
    throw error;
  }

  private async json<T>(method: string, path: string, body?: object): Promise<T> {
    const init: RequestInit =
      body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
    const response = await this.send(method, path, init);
    try {
      return (response.status === 204 ? null : await response.json()) as T;
    } catch (error) {
      throw new OfflineError(error);
    }
  }

  // Accounts
  me = () => this.json<Me>("GET", "/api/me");
  updateMe = (change: { locale?: string; display_name?: string }) => this.json<Me>("PATCH", "/api/me", change);
  giveConsent = (version: string) => this.json<Me>("POST", "/api/me/consent", { version });
  inspectInvite = (token: string) => this.json<InviteDetails>("POST", "/api/invites/inspect", { token });
  acceptInvite = (body: AcceptInvite) => this.json<Me>("POST", "/api/invites/accept", body);
  login = (email: string, password: string) => this.json<Me>("POST", "/api/login", { email, password });
  logout = () => this.json<null>("POST", "/api/logout");

  // Campaigns and tasks
  campaigns = () => this.json<Campaign[]>("GET", "/api/campaigns");
  campaign = (name: string) => this.json<CampaignDetails>("GET", `/api/campaigns/${encodeURIComponent(name)}`);
  next = (campaign: string, hold: string[]) =>
    this.json<Assignment | null>("POST", `/api/campaigns/${encodeURIComponent(campaign)}/next`, { hold });
  heartbeat = (id: string, fence: number) =>
    this.json<{ expires_at: string }>("POST", `/api/assignments/${id}/heartbeat`, { fence });
  submit = (id: string, body: Submission) =>
    this.json<{ undo_seconds: number | null }>("POST", `/api/assignments/${id}/submit`, body);
  skip = (id: string, body: Skip) => this.json<unknown>("POST", `/api/assignments/${id}/skip`, body);
  undo = (id: string) => this.json<Assignment>("POST", `/api/assignments/${id}/undo`, {});
  last = (campaign: string) =>
    this.json<LastSubmission | null>("GET", `/api/me/last?campaign=${encodeURIComponent(campaign)}`);

  // Recordings
  openRecording = (assignment: string, body: StartTake) =>
    this.json<Recording>("POST", `/api/assignments/${assignment}/recordings`, body);
  async putChunk(recording: string, seq: number, bytes: ArrayBuffer, sha256: string): Promise<number> {
    const response = await this.send("PUT", `/api/recordings/${recording}/chunks/${seq}`, {
      body: bytes,
      headers: { "Content-Type": "application/octet-stream", "X-Chunk-SHA256": sha256 },
    });
    return ((await response.json()) as { next_seq: number }).next_seq;
  }
  finish = (recording: string, body: FinishTake) =>
    this.json<Recording>("POST", `/api/recordings/${recording}/finish`, body);
  discard = (recording: string) => this.json<unknown>("POST", `/api/recordings/${recording}/discard`);
  recording = (id: string) => this.json<Recording>("GET", `/api/recordings/${id}`);

  // Admin
  adminStatus = () => this.json<AdminStatus>("GET", "/api/admin/status");
  adminCaptions = (limit: number) => this.json<Caption[]>("GET", `/api/admin/captions?limit=${limit}`);
  adminInvites = () => this.json<Invite[]>("GET", "/api/admin/invites");
  createInvite = (body: CreateInvite) =>
    this.json<{ link: string; expires_at: string }>("POST", "/api/admin/invites", body);
  retryJob = (job: string, subject: string) =>
    this.json<unknown>("POST", "/api/admin/jobs/retry", { job, subject_id: subject });
}

async function readProblem(response: Response): Promise<Problem> {
  try {
    return (await response.json()) as Problem;
  } catch {
    return {};
  }
}

export const api = new Api();
