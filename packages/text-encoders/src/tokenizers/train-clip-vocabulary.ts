import { throwIf } from '../checks.js';
import { END, lowerCased, START, SUFFIX, WORDS } from './clip-tokenizer.js';

/** How a vocabulary is learned. */
export interface VocabularyOptions {
  /** Tokens at most, the 512 of single bytes, start and end included. CLIP has 49,408. */
  readonly size: number;
  /** A pair must stand so often in the texts to become a token; 2 when absent. */
  readonly minFrequency?: number;
}

/** The two files of a tokenizer of CLIP's kind: vocab.json and the text of merges.txt. */
export interface ClipVocabulary {
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: string;
}

/** A word as its tokens, and how often it stands in the texts. */
interface Word {
  tokens: number[];
  readonly count: number;
}

/** Tokens of single bytes: each inside a word and at its end. */
const BYTES = 256;
/** Ids of pairs are `left * PAIR + right`. */
const PAIR = 2 ** 26;

/**
 * Learns byte pairs of texts: the pair of neighbouring tokens that stands most often becomes a token, again and again. Sennrich et
 * al. 2016, "Neural machine translation of rare words with subword units", algorithm 1; words and bytes as in CLIP (Radford et al.
 * 2021). Of pairs that are as frequent, the one of the smaller ids comes first, so that the same texts give the same vocabulary. Texts
 * that have fewer pairs give a smaller vocabulary. Ids are CLIP's: bytes, bytes at a word's end, pairs, start, end.
 *
 * @throws InvalidArgumentError for a size without room for bytes, start and end, or a frequency below 1
 */
export function trainClipVocabulary(
  texts: Iterable<string>,
  { size, minFrequency = 2 }: VocabularyOptions,
): ClipVocabulary {
  throwIf('trainClipVocabulary', [
    ...(Number.isSafeInteger(size) && size >= 2 * BYTES + 2 && size < PAIR / 2
      ? []
      : [`size: expected at least ${2 * BYTES + 2} tokens (bytes, start and end), got ${size}`]),
    ...(minFrequency >= 1 ? [] : [`minFrequency: expected at least 1, got ${minFrequency}`]),
  ]);
  const letters = byteLetters();
  const tokens = [...letters, ...letters.map((letter) => letter + SUFFIX)];
  const words = wordsOf(texts);
  const pairs = new Pairs(words);
  const merges: string[] = [];
  while (tokens.length < size - 2) {
    const best = pairs.best();
    if (best === undefined || best.count < minFrequency) break;
    merges.push(`${tokens[best.left]} ${tokens[best.right]}`);
    tokens.push(tokens[best.left]! + tokens[best.right]!);
    pairs.merge(best.left, best.right, tokens.length - 1);
  }
  return {
    vocab: Object.fromEntries([...tokens, START, END].map((token, id) => [token, id])),
    merges: ['#version: 0.2', ...merges, ''].join('\n'),
  };
}

/** The words of texts as bytes, the last one of each marked, with their counts, in the order in which they first come. */
function wordsOf(texts: Iterable<string>): Word[] {
  const counts = new Map<string, number>();
  const pattern = new RegExp(WORDS, 'gu');
  for (const text of texts) {
    for (const [word] of lowerCased(text).matchAll(pattern)) {
      if (word !== START && word !== END) counts.set(word, (counts.get(word) ?? 0) + 1);
    }
  }
  const encoder = new TextEncoder();
  const ids = idsOfBytes();
  return Array.from(counts, ([word, count]) => {
    const tokens = Array.from(encoder.encode(word), (byte) => ids[byte]!);
    tokens[tokens.length - 1]! += BYTES;
    return { tokens, count };
  });
}

/** How often each pair of neighbours stands in the words, kept up to date from merge to merge. */
class Pairs {
  readonly #words: readonly Word[];
  readonly #counts = new Map<number, number>();
  /** The words that have, or had, a pair. */
  readonly #places = new Map<number, Set<number>>();
  readonly #queue = new MaxQueue();

  constructor(words: readonly Word[]) {
    this.#words = words;
    words.forEach((_, i) => {
      this.#add(i, 1);
    });
    for (const [pair, count] of this.#counts) this.#queue.push({ pair, count });
  }

  /** The most frequent pair; undefined when there is none. */
  best(): { left: number; right: number; count: number } | undefined {
    for (let top = this.#queue.pop(); top !== undefined; top = this.#queue.pop()) {
      const count = this.#counts.get(top.pair) ?? 0;
      if (count === top.count && count > 0) return { left: Math.floor(top.pair / PAIR), right: top.pair % PAIR, count };
    }
    return undefined;
  }

  /** Puts a token in the place of a pair, wherever it stands. */
  merge(left: number, right: number, token: number): void {
    const changed = new Set<number>();
    for (const i of this.#places.get(left * PAIR + right) ?? []) {
      const word = this.#words[i]!;
      this.#add(i, -1, changed);
      word.tokens = merged(word.tokens, left, right, token);
      this.#add(i, 1, changed);
    }
    for (const pair of changed) this.#queue.push({ pair, count: this.#counts.get(pair)! });
  }

  /** Counts the pairs of a word, or takes them out of the counts. */
  #add(i: number, sign: 1 | -1, changed?: Set<number>): void {
    const { tokens, count } = this.#words[i]!;
    for (let at = 1; at < tokens.length; at++) {
      const pair = tokens[at - 1]! * PAIR + tokens[at]!;
      this.#counts.set(pair, (this.#counts.get(pair) ?? 0) + sign * count);
      changed?.add(pair);
      const places = this.#places.get(pair) ?? new Set<number>();
      this.#places.set(pair, places.add(i));
    }
  }
}

/** A word with a token in the place of each pair, from the left. */
function merged(tokens: readonly number[], left: number, right: number, token: number): number[] {
  const out: number[] = [];
  for (let at = 0; at < tokens.length; at++) {
    const both = tokens[at] === left && tokens[at + 1] === right;
    out.push(both ? token : tokens[at]!);
    if (both) at++;
  }
  return out;
}

interface Entry {
  readonly pair: number;
  readonly count: number;
}

/** A binary heap: the largest count first, of equal ones the smallest pair. */
class MaxQueue {
  readonly #heap: Entry[] = [];

  push(entry: Entry): void {
    let at = this.#heap.push(entry) - 1;
    while (at > 0 && this.#before(at, (at - 1) >> 1)) at = this.#swap(at, (at - 1) >> 1);
  }

  pop(): Entry | undefined {
    const [top] = this.#heap;
    const last = this.#heap.pop();
    if (this.#heap.length === 0 || last === undefined) return top;
    this.#heap[0] = last;
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2];
      const child = right < this.#heap.length && this.#before(right, left) ? right : left;
      if (child >= this.#heap.length || !this.#before(child, at)) return top;
      at = this.#swap(at, child);
    }
  }

  #before(i: number, j: number): boolean {
    const [a, b] = [this.#heap[i]!, this.#heap[j]!];
    return a.count > b.count || (a.count === b.count && a.pair < b.pair);
  }

  #swap(i: number, j: number): number {
    [this.#heap[i], this.#heap[j]] = [this.#heap[j]!, this.#heap[i]!];
    return j;
  }
}

/** Bytes that stand for themselves in a vocabulary: the visible ones of Latin 1. Radford et al. 2019 (GPT-2), code. */
function isVisible(byte: number): boolean {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

/** Bytes in the order of their ids: the visible ones, then the others. */
function bytesInOrder(): number[] {
  const all = Array.from({ length: BYTES }, (_, byte) => byte);
  return [...all.filter(isVisible), ...all.filter((byte) => !isVisible(byte))];
}

/** The letters of bytes in the order of their ids; those that cannot be seen have letters from U+0100 on. */
function byteLetters(): string[] {
  let next = BYTES;
  return bytesInOrder().map((byte) => String.fromCodePoint(isVisible(byte) ? byte : next++));
}

/** The id of each byte. */
function idsOfBytes(): number[] {
  const ids: number[] = [];
  bytesInOrder().forEach((byte, id) => {
    ids[byte] = id;
  });
  return ids;
}
