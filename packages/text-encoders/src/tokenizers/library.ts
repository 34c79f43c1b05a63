import { Normalizer as LibraryNormalizer, Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { InvalidFileError } from '@mezzotint/core';
import { type AddedToken, splitAtTokens } from './added-tokens.js';

/** What the library is built from: a tokenizer.json of our own making, so that nothing of a file's decides what runs. */
export interface Pipeline {
  readonly model: Readonly<Record<string, unknown>>;
  readonly preTokenizer: Readonly<Record<string, unknown>>;
  readonly normalize: (text: string) => string;
  readonly added: readonly AddedToken[];
}

/** The library asks its normalizer for every text; ours are normalised before, section by section. */
class Untouched extends LibraryNormalizer {
  readonly normalize = (text: string): string => text;
}

/**
 * The function from a text to ids. `file` is what an error names. Added tokens and the normal form are ours: the library knows
 * no tokens of normalised text, its own lowercasing looks at a sigma's neighbours, and its sentencepiece rules are a
 * stand-in; each gives other ids than the reference for some texts.
 */
export function buildEncoder(file: string, pipeline: Pipeline): (text: string) => readonly number[] {
  const { model, preTokenizer, normalize, added } = pipeline;
  const inText = splitAtTokens(added.filter(({ normalized }) => normalized !== true));
  const normal = added.filter(({ normalized }) => normalized === true);
  const inNormal = splitAtTokens(normal.map((token) => ({ ...token, content: normalize(token.content) })));
  let words: (text: string) => readonly number[];
  try {
    const json = { model, pre_tokenizer: preTokenizer, added_tokens: [] };
    const tokenizer = new LibraryTokenizer({ ...json, normalizer: null, post_processor: null, decoder: null }, {});
    tokenizer.normalizer = new Untouched({ type: 'NFC' });
    words = (text) => tokenizer.encode(text, { add_special_tokens: false }).ids;
  } catch (cause) {
    throw new InvalidFileError(file, `is no tokenizer: ${(cause as Error).message}`, { cause });
  }
  return (text) =>
    inText(text).flatMap((section) =>
      typeof section === 'number'
        ? section
        : inNormal(normalize(section)).flatMap((part) => (typeof part === 'number' ? part : words(part))),
    );
}
