import { Normalizer as LibraryNormalizer, Tokenizer as LibraryTokenizer } from '@huggingface/tokenizers';
import { InvalidFileError } from '@mezzotint/core';

/** A token that is found in a text before anything else is done with it. */
export interface SpecialToken {
  readonly content: string;
  readonly id: number;
}

/** What the library is built from: a tokenizer.json of our own making, so that nothing of a file's decides what runs. */
export interface Pipeline {
  readonly model: Readonly<Record<string, unknown>>;
  readonly preTokenizer: Readonly<Record<string, unknown>>;
  readonly normalize: (text: string) => string;
  readonly special: readonly SpecialToken[];
}

/**
 * What is done to a text before it is cut: ours, because the library's own lowercasing looks at a sigma's neighbours
 * and its sentencepiece rules are a stand-in, and both give other ids than the reference for some texts.
 */
class Normalizer extends LibraryNormalizer {
  readonly normalize: (text: string) => string;

  constructor(normalize: (text: string) => string) {
    super({ type: 'NFC' });
    this.normalize = normalize;
  }
}

/** The function from a text to ids. `file` is what an error names. */
export function buildEncoder(file: string, pipeline: Pipeline): (text: string) => readonly number[] {
  const { model, preTokenizer, normalize, special } = pipeline;
  const added = special.map(({ content, id }) => ({ content, id, special: true, normalized: false }));
  try {
    const json = { model, pre_tokenizer: preTokenizer, added_tokens: added };
    const tokenizer = new LibraryTokenizer({ ...json, normalizer: null, post_processor: null, decoder: null }, {});
    tokenizer.normalizer = new Normalizer(normalize);
    return (text) => tokenizer.encode(text, { add_special_tokens: false }).ids;
  } catch (cause) {
    throw new InvalidFileError(file, `is no tokenizer: ${(cause as Error).message}`, { cause });
  }
}
