import { InvalidFileError, quoted } from '@mezzotint/core';
import { countProblems, throwIf } from '../checks.js';
import { isObject } from '../transformers-json.js';
import { type AddedToken, mergeAddedTokens, oneId, readAddedTokens } from './added-tokens.js';
import { buildEncoder } from './library.js';
import type { TokenizerOptions } from './options.js';
import type { Tokenizer } from './tokenizer.js';
import { isId, readTokenizerJson } from './tokenizer-json.js';

/**
 * CLIP's tokenizer as it is published: one parsed tokenizer.json, or a parsed vocab.json with the text of merges.txt, and
 * where there is one a parsed added_tokens.json (textual inversions).
 */
export type ClipTokenizerFiles =
  | { readonly tokenizerJson: unknown }
  | { readonly vocab: unknown; readonly merges: string; readonly addedTokens?: unknown };

/** What a CLIP tokenizer's files do not always say. */
export interface ClipTokenizerOptions extends TokenizerOptions {
  /**
   * What the token that fills up is when it stands in a text. `special` (when absent): itself, as in transformers, where
   * `!` in a text is 0 for the encoders that are filled up with `!`; `plain`: text like any other, as in OpenCLIP.
   */
  readonly padInText?: 'special' | 'plain';
}

export const START = '<|startoftext|>';
export const END = '<|endoftext|>';
/** Marks the end of a word inside the vocabulary. */
export const SUFFIX = '</w>';

const FAMILY = {
  name: 'CLIP',
  model: 'BPE',
  normalizers: ['NFC Replace Lowercase'],
  preTokenizers: ['Split ByteLevel'],
};

/** English endings, letters, single digits and runs of everything else. White space is Unicode's: JavaScript's \s has U+FEFF, too. */
const PIECES = "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\p{White_Space}\\p{L}\\p{N}]+";

/** What is a word: one of the two marks, or a piece. Radford et al. 2021, code. */
export const WORDS = `${`${START}|${END}`.replaceAll(/<\||\|>/g, (c) => c.replace('|', '\\|'))}|${PIECES}`;

/**
 * CLIP's tokenizer: byte-pair encoding of lower-cased words (Sennrich et al. 2016), as transformers' `CLIPTokenizer`
 * does it. `pad` is `<|endoftext|>` when absent (Stable Diffusion 1, XL's first); OpenCLIP's, in Stable Diffusion 2 and
 * XL's second, is `!`. `maxLength` is 77 when absent.
 *
 * @throws InvalidFileError when a file is not what it should be; InvalidArgumentError for a `pad` that is no token
 */
export function clipTokenizer(
  files: ClipTokenizerFiles,
  { pad = END, maxLength = 77, padInText = 'special', added = [] }: ClipTokenizerOptions = {},
): Tokenizer {
  const { file, vocab, merges, ...own } = 'vocab' in files ? fromPair(files) : fromJson(files.tokenizerJson);
  const tokens = mergeAddedTokens(file, own.added, added);
  const tokenOf = (content: string, id: number) => tokens.find((token) => token.content === content) ?? { content, id };
  const idOf = (token: string) => oneId(tokens, token) ?? vocab.get(token);
  const [start, end, padId] = [idOf(START), idOf(END), idOf(pad)];
  if (start === undefined || end === undefined) throw new InvalidFileError(file, `has no ${START} or no ${END}`);
  throwIf('clipTokenizer', [
    ...countProblems({ maxLength }),
    ...(padId === undefined ? [`pad: expected a token of ${file}, got ${quoted(pad)}`] : []),
  ]);
  const encode = buildEncoder(file, {
    model: {
      type: 'BPE',
      vocab: Object.fromEntries(vocab),
      merges,
      unk_token: END,
      end_of_word_suffix: SUFFIX,
    },
    preTokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'Split', pattern: { Regex: WORDS }, behavior: 'Removed', invert: true },
        // A mark that is no token, such as <|STARTOFTEXT|> in capitals, is parted, as the pattern of ByteLevel does it in the
        // reference; the library's pattern would part words at U+FEFF, too.
        { type: 'Split', pattern: { Regex: PIECES }, behavior: 'Removed', invert: true },
        { type: 'ByteLevel', add_prefix_space: false, use_regex: false },
      ],
    },
    normalize: lowerCased,
    added: [
      ...tokens.filter(({ content }) => ![START, END, pad].includes(content)),
      ...(pad !== END && padInText === 'special' ? [tokenOf(pad, padId!)] : []),
      tokenOf(START, start),
      tokenOf(END, end),
    ],
  });
  return { encode, start, end, pad: padId!, maxLength };
}

/** Composed, with single spaces, and lower case letter by letter: no final sigma, as in the reference. */
export function lowerCased(text: string): string {
  const spaced = text.normalize('NFC').replaceAll(/\p{White_Space}+/gu, ' ');
  return Array.from(spaced, (letter) => letter.toLowerCase()).join('');
}

interface BytePairs {
  readonly file: string;
  readonly vocab: ReadonlyMap<string, number>;
  readonly merges: readonly (readonly [string, string])[];
  readonly added: readonly AddedToken[];
}

function fromPair({ vocab, merges, addedTokens }: Extract<ClipTokenizerFiles, { readonly vocab: unknown }>): BytePairs {
  const known = readVocab('vocab.json', vocab);
  // Here too tokens that do not say otherwise are found in the normalised text.
  const added = readAddedTokens('added_tokens.json', addedTokens).map((token) => ({ ...token, normalized: true }));
  const lines = merges.split(/\r?\n/).filter((line) => line !== '' && !line.startsWith('#version'));
  return { file: 'vocab.json', vocab: known, merges: readMerges('merges.txt', lines, known), added };
}

function fromJson(json: unknown): BytePairs {
  const file = 'tokenizer.json';
  const { model, added } = readTokenizerJson(file, json, FAMILY);
  if (model.end_of_word_suffix !== SUFFIX || model.byte_fallback === true) {
    throw new InvalidFileError(file, `expected byte pairs with the suffix ${SUFFIX}, as in CLIP`);
  }
  const vocab = readVocab(file, model.vocab);
  if (!Array.isArray(model.merges)) throw new InvalidFileError(file, 'model.merges: expected a list');
  return { file, vocab, merges: readMerges(file, model.merges, vocab), added };
}

function readVocab(file: string, json: unknown): ReadonlyMap<string, number> {
  const entries = isObject(json) ? Object.entries(json) : [];
  if (entries.length === 0 || !entries.every(([, id]) => isId(id))) {
    throw new InvalidFileError(file, 'expected an object from tokens to whole numbers');
  }
  return new Map(entries as [string, number][]);
}

/** Pairs in the order in which they merge. `list` has pairs, or lines with a space between. */
function readMerges(
  file: string,
  list: readonly unknown[],
  vocab: ReadonlyMap<string, number>,
): (readonly [string, string])[] {
  return list.map((entry, i) => {
    const pair: unknown = typeof entry === 'string' ? entry.split(' ') : entry;
    if (!Array.isArray(pair) || pair.length !== 2 || !pair.every((part) => typeof part === 'string' && part !== '')) {
      throw new InvalidFileError(file, `merge ${i + 1}: expected two parts, got ${quoted(entry)}`);
    }
    const [left, right] = pair as [string, string];
    if (!vocab.has(left + right)) {
      throw new InvalidFileError(file, `merge ${i + 1}: ${quoted(left + right)} is not in the vocabulary`);
    }
    return [left, right];
  });
}
