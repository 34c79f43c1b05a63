import { InvalidFileError } from '@mezzotint/core';
import {
  type AddedToken,
  type ClipTokenizerFiles,
  type ClipTokenizerOptions,
  clipTokenizer,
  clipVocabulary,
  type Tokenizer,
  t5Tokenizer,
  tokenizerOptionsFromTransformers,
} from '@mezzotint/text-encoders';
import type { ModelFiles } from './family.js';

/**
 * CLIP's tokenizer of a folder in a model's files: its vocabulary, what its settings say, and the tokens that were added.
 *
 * @param extra more added tokens, of textual inversions
 */
export async function openClipTokenizer(
  files: ModelFiles,
  folder: string,
  extra: readonly AddedToken[] = [],
): Promise<Tokenizer> {
  const json = async (name: string) => {
    const path = `${folder}/${name}`;
    const found = files.has(path) ? await files.json(path) : {};
    if (typeof found !== 'object' || found === null || Array.isArray(found))
      throw new InvalidFileError(`${files.name}/${path}`, 'expected an object of settings');
    return found;
  };
  // As in transformers: special_tokens_map.json wins over a tokenizer_config.json of before it had the added tokens (Stable
  // Diffusion 2's pads by `!` in the one and by the end in the other), and is not read beside a later one.
  const config = await json('tokenizer_config.json');
  const settings =
    'added_tokens_decoder' in config ? config : { ...config, ...(await json('special_tokens_map.json')) };
  const found = await vocabularyIn(files, folder);
  if (found !== undefined) {
    const options = tokenizerOptionsFromTransformers(settings);
    return clipTokenizer(found, { ...options, added: [...(options.added ?? []), ...extra] });
  }
  throw new InvalidFileError(
    `${files.name}/${folder}`,
    'has no tokenizer: neither vocab.json with merges.txt, nor tokenizer.json',
  );
}

/** Tokenizers with one vocabulary, for a model in one file, which says nothing of them. */
export type TokenizerMaker = (options: ClipTokenizerOptions) => Tokenizer;

/**
 * The vocabulary for a model in one file: that of `given` (a folder or a tokenizer.json), else that of a folder `tokenizer` or of
 * files beside the model, else CLIP's published one.
 *
 * @throws InvalidFileError when what was given is no tokenizer
 */
export async function clipTokenizersFor(
  beside: ModelFiles | null,
  given: ModelFiles | undefined,
): Promise<TokenizerMaker> {
  const files =
    given === undefined
      ? ((beside && ((await vocabularyIn(beside, 'tokenizer')) ?? (await vocabularyIn(beside, '')))) ??
        (await clipVocabulary()))
      : given.kind === 'file'
        ? { tokenizerJson: await given.json('') }
        : await vocabularyIn(given, '');
  if (files === undefined) {
    throw new InvalidFileError(given!.name, 'has no tokenizer: neither vocab.json with merges.txt, nor tokenizer.json');
  }
  return (options) => clipTokenizer(files, options);
}

async function vocabularyIn(files: ModelFiles, folder: string): Promise<ClipTokenizerFiles | undefined> {
  const at = (name: string) => (folder === '' ? name : `${folder}/${name}`);
  if (files.has(at('vocab.json')) && files.has(at('merges.txt'))) {
    return {
      vocab: await files.json(at('vocab.json')),
      merges: await files.text(at('merges.txt')),
      ...(files.has(at('added_tokens.json')) && { addedTokens: await files.json(at('added_tokens.json')) }),
    };
  }
  return files.has(at('tokenizer.json')) ? { tokenizerJson: await files.json(at('tokenizer.json')) } : undefined;
}

/**
 * T5's tokenizer in a folder of a model's files, or in the files themselves: tokenizer.json or spiece.model, and what its
 * settings say. Undefined where there is none.
 */
export async function openT5Tokenizer(files: ModelFiles, folder: string): Promise<Tokenizer | undefined> {
  if (files.kind === 'file') return t5Tokenizer({ tokenizerJson: await files.json('') });
  for (const at of [`${folder}/`, '']) {
    const json = files.has(`${at}tokenizer_config.json`) ? await files.json(`${at}tokenizer_config.json`) : {};
    const settings = tokenizerOptionsFromTransformers(json);
    if (files.has(`${at}spiece.model`) && files.bytes) {
      return t5Tokenizer({ spiece: await files.bytes(`${at}spiece.model`) }, settings);
    }
    // A tokenizer.json beside a model may be CLIP's; T5's has no merges.
    if (at !== '' && files.has(`${at}tokenizer.json`))
      return t5Tokenizer({ tokenizerJson: await files.json(`${at}tokenizer.json`) }, settings);
  }
  return undefined;
}
