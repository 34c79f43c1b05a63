import { InvalidFileError } from '@mezzotint/core';
import {
  type ClipTokenizerFiles,
  type ClipTokenizerOptions,
  clipTokenizer,
  clipVocabulary,
  type Tokenizer,
  tokenizerOptionsFromTransformers,
} from '@mezzotint/text-encoders';
import type { ModelFiles } from './family.js';

/** Tokens beside the vocabulary with their ids. */
export type AddedTokens = ReadonlyMap<string, readonly number[]>;

/**
 * CLIP's tokenizer of a folder in a model's files: its vocabulary, what its settings say, and the tokens that were added.
 *
 * @param extra more added tokens, of textual inversions
 */
export async function openClipTokenizer(
  files: ModelFiles,
  folder: string,
  extra: AddedTokens = new Map(),
): Promise<Tokenizer> {
  const json = async (name: string) => {
    const path = `${folder}/${name}`;
    return files.has(path) ? ((await files.json(path)) as object) : {};
  };
  const settings = { ...(await json('special_tokens_map.json')), ...(await json('tokenizer_config.json')) };
  const found = await vocabularyIn(files, folder);
  if (found !== undefined) {
    const options = tokenizerOptionsFromTransformers(settings);
    const listed = Object.entries(await json('added_tokens.json')).filter(
      ([, id]) => Number.isSafeInteger(id) && id >= 0,
    );
    const added = new Map([
      ...(options.added ?? []),
      ...listed.map(([token, id]) => [token, [id as number]] as const),
      ...extra,
    ]);
    return clipTokenizer(found, { ...options, added });
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
    return { vocab: await files.json(at('vocab.json')), merges: await files.text(at('merges.txt')) };
  }
  return files.has(at('tokenizer.json')) ? { tokenizerJson: await files.json(at('tokenizer.json')) } : undefined;
}
