import { InvalidFileError, quoted } from '@mezzotint/core';
import { countProblems, throwIf } from '../checks.js';
import { type AddedToken, mergeAddedTokens, oneId } from './added-tokens.js';
import { Charsmap } from './charsmap.js';
import { buildEncoder } from './library.js';
import type { TokenizerOptions } from './options.js';
import { readSentencePieceModel, type UnigramModel } from './sentence-piece.js';
import type { Tokenizer } from './tokenizer.js';
import { readTokenizerJson } from './tokenizer-json.js';

/** T5's tokenizer as it is published: one parsed tokenizer.json, the bytes of spiece.model, or what a GGUF file says. */
export type T5TokenizerFiles =
  | { readonly tokenizerJson: unknown }
  | { readonly spiece: Uint8Array }
  | { readonly gguf: GgufVocabulary };

/** The header of a GGUF file, whose keys `tokenizer.ggml.*` are llama.cpp's. `openGguf` of `@mezzotint/weights` gives one. */
export interface GgufVocabulary {
  readonly name: string;
  readonly metadata: ReadonlyMap<string, string>;
  readonly lists: ReadonlyMap<string, ArrayLike<string | number>>;
}

const PAD = '<pad>';
const END = '</s>';
const UNKNOWN = '<unk>';
/** Stands for a space in pieces. */
const SPACE = '\u2581';
/** T5's files have so many tokens for masked spans after their pieces, the last one first. Raffel et al. 2020. */
const SPANS = 100;

const FAMILY = {
  name: 'T5',
  model: 'Unigram',
  normalizers: ['', 'Precompiled', 'Precompiled Strip Replace'],
  preTokenizers: ['WhitespaceSplit Metaspace', 'Metaspace'],
};

/**
 * T5's tokenizer: the likeliest pieces of each word (Kudo 2018), as transformers' `T5Tokenizer` does it. `maxLength` is
 * 512 when absent; `pad` is `<pad>`.
 *
 * @throws InvalidFileError when a file is not what it should be; InvalidArgumentError for a `pad` that is no token
 */
export function t5Tokenizer(
  files: T5TokenizerFiles,
  { pad = PAD, maxLength = 512, added = [] }: TokenizerOptions = {},
): Tokenizer {
  const { file, model, ...own } =
    'spiece' in files
      ? fromSpiece(files.spiece)
      : 'gguf' in files
        ? fromGguf(files.gguf)
        : fromJson(files.tokenizerJson);
  const tokens = mergeAddedTokens(file, own.added, added);
  const idOf = (token: string) => oneId(tokens, token);
  const [end, padId] = [idOf(END), idOf(pad)];
  if (end === undefined) throw new InvalidFileError(file, `has no ${END}`);
  throwIf('t5Tokenizer', [
    ...countProblems({ maxLength }),
    ...(padId === undefined ? [`pad: expected a special token of ${file}, got ${quoted(pad)}`] : []),
  ]);
  const rules = model.charsmap && new Charsmap(file, model.charsmap);
  const encode = buildEncoder(file, {
    model: { type: 'Unigram', vocab: model.pieces, unk_id: model.unknown },
    preTokenizer: {
      type: 'Sequence',
      pretokenizers: [
        { type: 'WhitespaceSplit' },
        { type: 'Metaspace', replacement: SPACE, prepend_scheme: 'always', split: true },
      ],
    },
    // Every kind of space is a space then: the library's own idea of a space lacks some.
    normalize: (text) => (rules?.normalize(text) ?? text).replaceAll(/\p{White_Space}+/gu, ' '),
    added: tokens,
  });
  return { encode, start: null, end, pad: padId!, maxLength };
}

interface Unigram {
  readonly file: string;
  readonly model: UnigramModel;
  readonly added: readonly AddedToken[];
}

function fromSpiece(bytes: Uint8Array): Unigram {
  const file = 'spiece.model';
  const model = readSentencePieceModel(file, bytes);
  const spans = Array.from({ length: SPANS }, (_, i) => `<extra_id_${SPANS - 1 - i}>`);
  const pieces = [...model.pieces, ...spans.map((span) => [span, 0] as const)];
  const tokens = new Set([PAD, END, UNKNOWN, ...spans]);
  const added = pieces.flatMap(([content], id) => (tokens.has(content) ? [{ content, id }] : []));
  return { file, model: { ...model, pieces }, added };
}

/** What llama.cpp calls the kinds of pieces. */
const KIND = { control: 3, userDefined: 4, unused: 5, byte: 6 };

function fromGguf({ name: file, metadata, lists }: GgufVocabulary): Unigram {
  const texts = lists.get('tokenizer.ggml.tokens');
  const scores = lists.get('tokenizer.ggml.scores');
  const kinds = lists.get('tokenizer.ggml.token_type');
  const rules = lists.get('tokenizer.ggml.precompiled_charsmap');
  const number = (key: string, absent: number) => Number(metadata.get(`tokenizer.ggml.${key}`) ?? absent);
  const model = metadata.get('tokenizer.ggml.model') ?? 'none';
  const [unknown, adds, removes] = [
    number('unknown_token_id', 2),
    number('add_space_prefix', 1),
    number('remove_extra_whitespaces', 1),
  ];
  const count = texts?.length ?? 0;
  // Behind the vocabulary, rows of the embedding that no text leads to.
  let used = count;
  while (used > 0 && kinds?.[used - 1] === KIND.unused) used--;
  const pieces = Array.from({ length: used }, (_, i) => [texts![i], scores?.[i]] as const);
  const problems = [
    ...(model === 't5' ? [] : [`tokenizer.ggml.model: expected t5, got ${quoted(model)}`]),
    ...(used > 0 && pieces.every(isPiece) && kinds?.length === count
      ? []
      : [
          `expected as many tokens, scores and token_types, got ${count}, ${scores?.length ?? 0}, ${kinds?.length ?? 0}`,
        ]),
    ...(Number.isInteger(unknown) && unknown >= 0 && unknown < used
      ? []
      : [`unknown_token_id: expected one of ${used} pieces, got ${unknown}`]),
    ...(adds === 1 && removes === 1 ? [] : ['has spaces that are kept as they are']),
    ...(kinds && Array.from(kinds).includes(KIND.byte) ? ['has bytes as a fallback'] : []),
    ...(rules === undefined || rules instanceof Uint8Array ? [] : ['precompiled_charsmap: expected bytes']),
  ];
  if (problems.length > 0) throw new InvalidFileError(file, `is no T5 vocabulary: ${problems.join('; ')}`);
  const special = new Set([PAD, END, UNKNOWN]);
  const added = (pieces as (readonly [string, number])[]).flatMap(([content], id) =>
    special.has(content) || kinds![id] === KIND.control || kinds![id] === KIND.userDefined ? [{ content, id }] : [],
  );
  const charsmap = rules?.length ? (rules as Uint8Array) : undefined;
  return { file, model: { pieces: pieces as (readonly [string, number])[], unknown, charsmap }, added };
}

function fromJson(json: unknown): Unigram {
  const file = 'tokenizer.json';
  const { model, normalizers, added } = readTokenizerJson(file, json, FAMILY);
  const { vocab, unk_id: unknown, byte_fallback: bytes } = model;
  if (!Array.isArray(vocab) || vocab.length === 0 || !vocab.every(isPiece)) {
    throw new InvalidFileError(file, 'model.vocab: expected pieces with scores');
  }
  if (!Number.isInteger(unknown) || (unknown as number) < 0 || (unknown as number) >= vocab.length || bytes === true) {
    throw new InvalidFileError(file, 'model: expected the number of an unknown piece, and no bytes as a fallback');
  }
  const text = normalizers.find(({ type }) => type === 'Precompiled')?.precompiled_charsmap;
  const charsmap = typeof text === 'string' && text !== '' ? fromBase64(file, text) : undefined;
  return { file, model: { pieces: vocab, unknown: unknown as number, charsmap }, added };
}

function isPiece(entry: unknown): entry is readonly [string, number] {
  return Array.isArray(entry) && typeof entry[0] === 'string' && entry[0] !== '' && Number.isFinite(entry[1]);
}

function fromBase64(file: string, text: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch (cause) {
    throw new InvalidFileError(file, 'precompiled_charsmap: expected base64', { cause });
  }
}
