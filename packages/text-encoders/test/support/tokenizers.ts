import { readFileSync } from 'node:fs';
import { type ClipTokenizerOptions, clipTokenizer, type Tokenizer } from '../../src/index.js';
import { readJson } from './golden.js';

/** The bytes of a fixture. */
export function readBytes(path: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/${path}`, import.meta.url)));
}

/** The tiny byte-pair tokenizer, from vocab.json and merges.txt. */
export function tinyClipTokenizer(options?: ClipTokenizerOptions): Tokenizer {
  const merges = new TextDecoder().decode(readBytes('tokenizers/merges.txt'));
  return clipTokenizer({ vocab: readJson('tokenizers/vocab.json'), merges }, options);
}
