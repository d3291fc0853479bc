/**
 * The journal of takes: every recorded chunk is written to IndexedDB before anything else happens to it,
 * and leaves it only when the server has the whole recording. It outlives reloads, crashes and kills.
 */
import { openDB, type DBSchema, type IDBPDatabase } from "idb";

export interface TakeEntry {
  id: string;
  userId: string;
  assignmentId: string;
  fence: number;
  campaign: string;
  mime: string;
  startedAt: string;
  chunks: number;
  bytes: number;
  /** Recorded milliseconds, pauses excluded. */
  elapsedMs: number;
  voicedMs: number;
  /** No further chunk will come. */
  stopped: boolean;
  /** The page that recorded it went away before the person stopped the take. */
  recovered: boolean;
  /** The server knows this take. */
  registered: boolean;
  /** The person wants it gone. */
  discarded: boolean;
}

export interface ChunkEntry {
  takeId: string;
  seq: number;
  bytes: ArrayBuffer;
  sha256: string;
  /** Totals of the take at the end of this chunk. */
  elapsedMs: number;
  voicedMs: number;
  createdAt: string;
}

/** What the person has typed and ticked for an assignment that is not submitted yet. */
export interface Draft {
  assignmentId: string;
  recordingId: string | null;
  text: string | null;
  covered: string[];
  elapsedMs: number;
}

interface Schema extends DBSchema {
  takes: { key: string; value: TakeEntry };
  chunks: { key: [string, number]; value: ChunkEntry };
  drafts: { key: string; value: Draft };
}

const STRICT = { durability: "strict" } as const;

export class Journal {
  private opened: Promise<IDBPDatabase<Schema>> | null = null;

  constructor(private readonly name = "pixmo") {}

  private db(): Promise<IDBPDatabase<Schema>> {
    this.opened ??= openDB<Schema>(this.name, 1, {
      upgrade(db) {
        db.createObjectStore("takes", { keyPath: "id" });
        db.createObjectStore("chunks", { keyPath: ["takeId", "seq"] });
        db.createObjectStore("drafts", { keyPath: "assignmentId" });
      },
      terminated: () => {
        this.opened = null;
      },
    });
    this.opened.catch(() => {
      this.opened = null;
    });
    return this.opened;
  }

  async begin(
    take: Pick<TakeEntry, "id" | "userId" | "assignmentId" | "fence" | "campaign" | "mime" | "startedAt">,
  ): Promise<TakeEntry> {
    const entry: TakeEntry = {
      ...take,
      chunks: 0,
      bytes: 0,
      elapsedMs: 0,
      voicedMs: 0,
      stopped: false,
      recovered: false,
      registered: false,
      discarded: false,
    };
    await (await this.db()).add("takes", entry);
    return entry;
  }

  /** Adds the next chunk and moves the take's totals on, in one transaction flushed to disk. */
  async append(chunk: Omit<ChunkEntry, "seq">): Promise<TakeEntry> {
    const tx = (await this.db()).transaction(["takes", "chunks"], "readwrite", STRICT);
    const take = await tx.objectStore("takes").get(chunk.takeId);
    if (take === undefined) {
      tx.abort();
      await tx.done.catch(() => {});
      throw new Error(`The journal has no take ${chunk.takeId}.`);
    }
    const grown: TakeEntry = {
      ...take,
      chunks: take.chunks + 1,
      bytes: take.bytes + chunk.bytes.byteLength,
      elapsedMs: chunk.elapsedMs,
      voicedMs: chunk.voicedMs,
    };
    await Promise.all([
      tx.objectStore("chunks").add({ ...chunk, seq: take.chunks }),
      tx.objectStore("takes").put(grown),
      tx.done,
    ]);
    return grown;
  }

  async update(id: string, change: Partial<TakeEntry>): Promise<TakeEntry | undefined> {
    const tx = (await this.db()).transaction("takes", "readwrite", STRICT);
    const take = await tx.store.get(id);
    const changed = take && { ...take, ...change };
    if (changed) await tx.store.put(changed);
    await tx.done;
    return changed;
  }

  async take(id: string): Promise<TakeEntry | undefined> {
    return (await this.db()).get("takes", id);
  }

  /** The person's takes, oldest first (ids are UUIDv7). */
  async takes(userId: string): Promise<TakeEntry[]> {
    return (await (await this.db()).getAll("takes")).filter((take) => take.userId === userId);
  }

  async chunk(takeId: string, seq: number): Promise<ChunkEntry | undefined> {
    return (await this.db()).get("chunks", [takeId, seq]);
  }

  /** The whole take as one byte string. */
  async bytes(takeId: string): Promise<Uint8Array<ArrayBuffer>> {
    const chunks = await (await this.db()).getAll("chunks", chunksOf(takeId));
    const whole = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.bytes.byteLength, 0));
    let offset = 0;
    for (const chunk of chunks) {
      whole.set(new Uint8Array(chunk.bytes), offset);
      offset += chunk.bytes.byteLength;
    }
    return whole;
  }

  async remove(takeId: string): Promise<void> {
    const tx = (await this.db()).transaction(["takes", "chunks"], "readwrite", STRICT);
    await Promise.all([
      tx.objectStore("chunks").delete(chunksOf(takeId)),
      tx.objectStore("takes").delete(takeId),
      tx.done,
    ]);
  }

  async draft(assignmentId: string): Promise<Draft | undefined> {
    return (await this.db()).get("drafts", assignmentId);
  }

  async saveDraft(draft: Draft): Promise<void> {
    await (await this.db()).put("drafts", draft);
  }

  async removeDraft(assignmentId: string): Promise<void> {
    await (await this.db()).delete("drafts", assignmentId);
  }

  async close(): Promise<void> {
    (await this.opened)?.close();
    this.opened = null;
  }
}

function chunksOf(takeId: string): IDBKeyRange {
  return IDBKeyRange.bound([takeId, 0], [takeId, Infinity]);
}

export const journal = new Journal();
