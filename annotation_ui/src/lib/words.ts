/** Ties edited text to the word times of the transcript it came from. */
import type { Word } from "../api/types";

/** A piece of the text as it stands. Times are seconds into the take; null when the word was typed in. */
export interface Token {
  text: string;
  start: number | null;
  end: number | null;
  unsure: boolean;
  /** Starts a new paragraph. */
  paragraph: boolean;
}

const UNSURE_BELOW = 0.5;

function normalised(word: string): string {
  return word.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "");
}

/**
 * The words of `text`, those that also stand in `words` (in the same order) with their times.
 * The match is the longest common subsequence; the unchanged head and tail are set aside first,
 * so that a correction in a long text costs next to nothing.
 */
export function align(text: string, words: readonly Word[]): Token[] {
  const tokens: Token[] = [];
  for (const [index, paragraph] of text.split(/\n\s*\n/).entries()) {
    for (const [position, part] of paragraph.split(/\s+/).filter(Boolean).entries()) {
      tokens.push({ text: part, start: null, end: null, unsure: false, paragraph: index > 0 && position === 0 });
    }
  }
  const mine = tokens.map((token) => normalised(token.text));
  const theirs = words.map((word) => normalised(word.text));
  const take = (token: number, word: number) => {
    const { start, end, confidence } = words[word]!;
    Object.assign(tokens[token]!, { start, end, unsure: confidence !== null && confidence < UNSURE_BELOW });
  };

  let head = 0;
  while (head < mine.length && head < theirs.length && mine[head] === theirs[head]) {
    take(head, head);
    head += 1;
  }
  let mineEnd = mine.length;
  let theirsEnd = theirs.length;
  while (mineEnd > head && theirsEnd > head && mine[mineEnd - 1] === theirs[theirsEnd - 1]) {
    mineEnd -= 1;
    theirsEnd -= 1;
    take(mineEnd, theirsEnd);
  }
  for (const [token, word] of commonSubsequence(mine.slice(head, mineEnd), theirs.slice(head, theirsEnd))) {
    take(head + token, head + word);
  }
  return tokens;
}

function commonSubsequence(left: string[], right: string[]): [number, number][] {
  const width = right.length + 1;
  const lengths = new Uint16Array((left.length + 1) * width);
  for (let i = left.length - 1; i >= 0; i -= 1) {
    for (let j = right.length - 1; j >= 0; j -= 1) {
      lengths[i * width + j] =
        left[i] === right[j]
          ? lengths[(i + 1) * width + j + 1]! + 1
          : Math.max(lengths[(i + 1) * width + j]!, lengths[i * width + j + 1]!);
    }
  }
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < left.length && j < right.length;) {
    if (left[i] === right[j]) pairs.push([i++, j++]);
    else if (lengths[(i + 1) * width + j]! >= lengths[i * width + j + 1]!) i += 1;
    else j += 1;
  }
  return pairs;
}

/** The token that sounds at `seconds`, or the last one before; -1 before the first. */
export function tokenAt(tokens: readonly Token[], seconds: number): number {
  let found = -1;
  for (const [index, token] of tokens.entries()) {
    if (token.start === null) continue;
    if (token.start > seconds) break;
    found = index;
  }
  return found;
}

/** Where to start listening for a token: its own time, or that of the nearest timed word before it. */
export function startOf(tokens: readonly Token[], index: number): number {
  for (let at = index; at >= 0; at -= 1) {
    const start = tokens[at]?.start;
    if (start !== null && start !== undefined) return start;
  }
  return 0;
}

export function countWords(text: string): number {
  return text.split(/\s+/).filter((part) => /[\p{L}\p{N}]/u.test(part)).length;
}
