import { InvalidFileError, quoted, readingBudget } from '@mezzotint/core';
import { isObject } from '../transformers-json.js';
import { isId } from './tokenizer-json.js';

/** A token beside the vocabulary, such as a textual inversion's `<cat-toy>`: it is found in a text before words are cut. */
export interface AddedToken {
  readonly content: string;
  /** Its id, or the ids of several vectors that one textual inversion has. */
  readonly id: number | readonly number[];
  /** Found in the normalised text (so whatever its case, for CLIP), not in the text as it is. Default false. */
  readonly normalized?: boolean;
  /** Found only where no letter or digit stands beside it. Default false. */
  readonly singleWord?: boolean;
  /** Takes the spaces before it, after it. Default false. */
  readonly lstrip?: boolean;
  readonly rstrip?: boolean;
}

/**
 * Reads added tokens in each of the ways in which files have them: `added_tokens_decoder` of tokenizer_config.json (an object
 * by id), `added_tokens` of tokenizer.json (a list), or added_tokens.json (an object from tokens to ids).
 *
 * @throws InvalidFileError when it is none of these
 */
export function readAddedTokens(file: string, json: unknown): AddedToken[] {
  if (json === undefined || json === null) return [];
  const entries: readonly unknown[] = Array.isArray(json)
    ? json
    : isObject(json)
      ? Object.entries(json).map(([key, value]) =>
          isObject(value) ? { ...value, id: Number(key) } : { content: key, id: value },
        )
      : [json];
  let letters = 0;
  const tokens = entries.map((entry) => {
    if (!isObject(entry) || typeof entry.content !== 'string' || entry.content === '' || !isId(entry.id)) {
      throw new InvalidFileError(file, 'added tokens: expected tokens with a content and an id');
    }
    letters += entry.content.length;
    const is = (flag: string) => entry[flag] === true;
    return {
      ...{ content: entry.content, id: entry.id, normalized: is('normalized') },
      ...{ singleWord: is('single_word'), lstrip: is('lstrip'), rstrip: is('rstrip') },
    };
  });
  const { addedTokens, addedTokenLetters } = readingBudget;
  if (tokens.length > addedTokens || letters > addedTokenLetters) {
    throw new InvalidFileError(
      file,
      `added tokens: expected at most ${addedTokens} of ${addedTokenLetters} letters in all, got ${tokens.length} of ${letters}`,
    );
  }
  return tokens;
}

/** Added tokens of several files by content, those of later files over earlier ones. */
export function mergeAddedTokens(file: string, ...lists: (readonly AddedToken[])[]): AddedToken[] {
  const byContent = new Map<string, AddedToken>();
  for (const token of lists.flat()) {
    const before = byContent.get(token.content);
    if (before !== undefined && String(before.id) !== String(token.id)) {
      const problem = `${quoted(token.content)} is token ${before.id} in one file and ${token.id} in another`;
      throw new InvalidFileError(file, problem);
    }
    byContent.set(token.content, token);
  }
  return [...byContent.values()];
}

/** The id of a token that has one. */
export function oneId(tokens: readonly AddedToken[], content: string): number | undefined {
  const id = tokens.find((token) => token.content === content)?.id;
  return typeof id === 'number' ? id : undefined;
}

/** A token, or text between tokens. */
export type Section = number | string;

/**
 * Cuts a text at added tokens: of those that begin at a place the longest is taken, then the search goes on behind it, as the
 * library `tokenizers` does it.
 */
export function splitAtTokens(tokens: readonly AddedToken[]): (text: string) => Section[] {
  const trie = trieOf(tokens);
  return (text) => {
    const sections: Section[] = [];
    let taken = 0;
    for (let at = 0; at < text.length; ) {
      const token = longestAt(trie, text, at);
      if (token === undefined) {
        at++;
        continue;
      }
      const end = at + token.content.length;
      const apart =
        !WORD_AT_END.test(text.slice(Math.max(0, at - 2), at)) && !WORD_AT_START.test(text.slice(end, end + 2));
      if (at >= taken && (apart || token.singleWord !== true)) {
        const start = token.lstrip ? spacesBefore(text, at, taken) : at;
        if (start > taken) sections.push(text.slice(taken, start));
        for (const id of [token.id].flat()) sections.push(id);
        taken = token.rstrip ? spacesAfter(text, end) : end;
      }
      at = end;
    }
    if (taken < text.length) sections.push(text.slice(taken));
    return sections;
  };
}

const WORD = '[\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}]';
const WORD_AT_START = new RegExp(`^${WORD}`, 'u');
const WORD_AT_END = new RegExp(`${WORD}$`, 'u');
const SPACE = /\p{White_Space}/u;

function spacesBefore(text: string, at: number, least: number): number {
  let start = at;
  while (start > least && SPACE.test(text[start - 1]!)) start--;
  return start;
}

function spacesAfter(text: string, at: number): number {
  let end = at;
  while (end < text.length && SPACE.test(text[end]!)) end++;
  return end;
}

/** Tokens by their UTF-16 units, one a level. */
interface Trie {
  readonly next: Map<number, Trie>;
  token?: AddedToken;
}

function trieOf(tokens: readonly AddedToken[]): Trie {
  const root: Trie = { next: new Map() };
  for (const token of tokens) {
    let node = root;
    for (let i = 0; i < token.content.length; i++) {
      const unit = token.content.charCodeAt(i);
      let child = node.next.get(unit);
      if (child === undefined) {
        child = { next: new Map() };
        node.next.set(unit, child);
      }
      node = child;
    }
    node.token = token;
  }
  return root;
}

function longestAt(trie: Trie, text: string, at: number): AddedToken | undefined {
  let found: AddedToken | undefined;
  let node: Trie | undefined = trie;
  for (let i = at; node !== undefined && i <= text.length; i++) {
    found = node.token ?? found;
    node = i < text.length ? node.next.get(text.charCodeAt(i)) : undefined;
  }
  return found;
}
