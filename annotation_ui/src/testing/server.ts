/** A real HTTP server that keeps the promises of pixmo's API about assignments and takes, and breaks them on demand. */
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import type { Assignment, Recording } from "../api/types";

interface Take {
  view: Recording;
  chunks: Buffer[];
}

type Body = Record<string, unknown> & { hold?: string[]; chunks?: number; sha256?: string; voiced_ms?: number };

export class TestServer {
  readonly log: string[] = [];
  readonly takes = new Map<string, Take>();
  readonly submissions: Body[] = [];
  /** Connections are cut while this is true. */
  down = false;
  /** Answers a request instead of the server, once, when it matches "METHOD path-end". */
  readonly instead = new Map<string, { status: number; body: object }>();
  images = 10;
  /** In which order leases that are held already are given again. */
  newestFirst = false;
  transcript: Recording["transcript"] = {
    id: "transcript",
    revision: 1,
    origin: "asr",
    text: "Three red apples on a table.",
    language: "en",
    words: [],
    flags: [],
    voiced_s: 30,
  };
  url = "";

  private given = 0;
  private readonly active = new Map<string, Assignment>();
  private readonly server = createServer((request, response) => void this.handle(request, response));

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((resolve) => this.server.close(resolve));
  }

  /** Ends a lease, as the server does after some silent minutes. */
  expire(assignment: string): void {
    this.active.delete(assignment);
  }

  bytes(take: string): Buffer {
    return Buffer.concat(this.takes.get(take)?.chunks ?? []);
  }

  private async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const raw = Buffer.concat(parts);
    if (this.down) return void request.socket.destroy();
    const line = `${request.method} ${request.url}`;
    this.log.push(line);
    const reply = (status: number, body?: object) => {
      response.writeHead(status, { "Content-Type": status < 400 ? "application/json" : "application/problem+json" });
      response.end(body && JSON.stringify(body));
    };
    for (const [match, answer] of this.instead) {
      const [method, end] = match.split(" ");
      if (request.method === method && request.url?.endsWith(end!)) {
        this.instead.delete(match);
        return reply(answer.status, answer.body);
      }
    }
    const [, kind, id, action, seq] = request.url!.slice(4).split("/");
    if (kind === "recordings" && action === "chunks") return this.chunk(id!, Number(seq), raw, request, reply);
    this.answer(kind!, id!, action ?? "", (raw.length > 0 ? JSON.parse(raw.toString()) : {}) as Body, reply);
  }

  private chunk(
    id: string,
    seq: number,
    raw: Buffer,
    request: IncomingMessage,
    reply: (status: number, body?: object) => void,
  ): void {
    const take = this.takes.get(id);
    if (!take) return reply(404, { code: "take_unknown" });
    if (take.view.state !== "open") return reply(409, { code: "take_finished" });
    if (sha256(raw) !== request.headers["x-chunk-sha256"]) return reply(422, { code: "chunk_corrupt" });
    if (seq > take.chunks.length) return reply(409, { code: "chunk_gap", expected: take.chunks.length });
    if (seq === take.chunks.length) take.chunks.push(raw);
    else if (!take.chunks[seq]!.equals(raw)) return reply(409, { code: "chunk_differs" });
    take.view.next_seq = take.chunks.length;
    reply(200, { next_seq: take.chunks.length });
  }

  private answer(
    kind: string,
    id: string,
    action: string,
    body: Body,
    reply: (status: number, body?: object) => void,
  ): void {
    switch (`${kind} ${action}`) {
      case "campaigns next": {
        const held = [...this.active.values()];
        if (this.newestFirst) held.reverse();
        const waiting = held.find((assignment) => !body.hold!.includes(assignment.id));
        if (waiting) return reply(200, waiting);
        if (this.given >= this.images) return reply(204);
        this.given += 1;
        const assignment = makeAssignment(`assignment-${this.given}`);
        this.active.set(assignment.id, assignment);
        return reply(200, assignment);
      }
      case "assignments recordings": {
        const take = body.id as string;
        if (!this.takes.has(take)) this.takes.set(take, { view: makeRecording(take, id), chunks: [] });
        return reply(201, this.takes.get(take)!.view);
      }
      case "assignments heartbeat":
        if (!this.active.has(id)) return reply(409, { code: "lease_lost" });
        return reply(200, { expires_at: new Date().toISOString() });
      case "assignments submit":
        if (!this.submissions.some((one) => one.submission_id === body.submission_id)) this.submissions.push(body);
        this.active.delete(id);
        return reply(200, { state: "submitted", undo_seconds: 600 });
      case "assignments skip":
        this.active.delete(id);
        return reply(200, { state: "skipped", undo_seconds: null });
      case "assignments undo": {
        const take = [...this.takes.values()].find((one) => one.view.assignment_id === id);
        const reopened = { ...makeAssignment(id), fence: 2, recording: take?.view ?? null };
        this.active.set(id, reopened);
        return reply(200, reopened);
      }
    }
    const take = this.takes.get(id);
    if (!take) return reply(404, { code: "take_unknown" });
    if (action === "finish") {
      const whole = Buffer.concat(take.chunks);
      if (body.chunks !== take.chunks.length) return reply(409, { code: "chunk_gap", expected: take.chunks.length });
      if (body.sha256 !== sha256(whole)) return reply(422, { code: "take_rejected", reason: "hash_mismatch" });
      take.view.state = "finished";
      take.view.voiced_s = (body.voiced_ms ?? 0) / 1000;
      take.view.transcription.state = "queued";
    } else if (action === "discard") {
      take.view.state = "discarded";
    } else if (take.view.transcription.state === "queued") {
      take.view.transcription.state = "running";
    } else if (take.view.transcription.state === "running") {
      take.view.transcription.state = "done";
      take.view.transcript = this.transcript;
    }
    reply(200, take.view);
  }
}

function sha256(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function makeAssignment(id: string): Assignment {
  return {
    id,
    fence: 1,
    task_id: `task-of-${id}`,
    campaign: "demo",
    expires_at: new Date().toISOString(),
    ttl_seconds: 600,
    recording: null,
    image: {
      id: `image-of-${id}`,
      url: "/a.jpg",
      full_url: "/b.jpg",
      thumb_url: "/c.jpg",
      width: 800,
      height: 600,
      attribution: null,
      licence: null,
    },
  };
}

export function makeRecording(id: string, assignmentId: string): Recording {
  return {
    id,
    assignment_id: assignmentId,
    state: "open",
    next_seq: 0,
    bytes: 0,
    mime: "audio/webm;codecs=opus",
    reject_reason: null,
    duration_s: null,
    voiced_s: null,
    audio_url: null,
    peaks: null,
    gate: null,
    transcription: { state: "none", attempts: 0, reason: null, outcome: null, partial_text: null },
    transcript: null,
  };
}
