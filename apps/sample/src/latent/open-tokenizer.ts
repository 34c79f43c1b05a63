import { existsSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { InvalidArgumentError, InvalidFileError } from '@mezzotint/core';
import {
  type ClipTokenizerFiles,
  type ClipTokenizerOptions,
  clipTokenizer,
  clipVocabulary,
  type Tokenizer,
  tokenizerOptionsFromTransformers,
} from '@mezzotint/text-encoders';
import { readJson, readText } from '@mezzotint/weights/node';

/** The tokenizer of a model's folder: `vocab.json` with `merges.txt`, or `tokenizer.json`, and what its settings say. */
export function openTokenizer(folder: string): Tokenizer {
  const settings = join(folder, 'tokenizer_config.json');
  const special = join(folder, 'special_tokens_map.json');
  const json = {
    ...(existsSync(special) ? (readJson(special) as object) : {}),
    ...(existsSync(settings) ? (readJson(settings) as object) : {}),
  };
  return clipTokenizer(tokenizerFiles(folder), tokenizerOptionsFromTransformers(json));
}

/** The words of a folder, or of one tokenizer.json. Throws an InvalidFileError that says what is missing. */
function tokenizerFiles(path: string): ClipTokenizerFiles {
  if (statSync(path, { throwIfNoEntry: false })?.isFile()) return { tokenizerJson: readJson(path) };
  const found = filesIn(path);
  if (found !== undefined) return found;
  throw new InvalidFileError(path, 'has no tokenizer: neither vocab.json with merges.txt, nor tokenizer.json');
}

function filesIn(folder: string): ClipTokenizerFiles | undefined {
  const [vocab, merges, whole] = ['vocab.json', 'merges.txt', 'tokenizer.json'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const added = join(folder, 'added_tokens.json');
  if (existsSync(vocab) && existsSync(merges)) {
    const addedTokens = existsSync(added) ? readJson(added) : undefined;
    return { vocab: readJson(vocab), merges: readText(merges), addedTokens };
  }
  return existsSync(whole) ? { tokenizerJson: readJson(whole) } : undefined;
}

/** Tokenizers with the same words for a model in one file, which says nothing of them. */
export type TokenizerMaker = (options: ClipTokenizerOptions) => Tokenizer;

/**
 * The words for a model in one file: those at `given` (a folder or a tokenizer.json), else those of a folder `tokenizer`
 * or of files beside the model, else CLIP's published vocabulary.
 *
 * @throws InvalidArgumentError or InvalidFileError when what was given is no tokenizer
 */
export async function tokenizersFor(model: string, given: string | undefined): Promise<TokenizerMaker> {
  if (given !== undefined && !existsSync(given)) throw new InvalidArgumentError(given, 'no such file or folder');
  const files = given !== undefined ? tokenizerFiles(given) : (beside(model) ?? (await clipVocabulary()));
  return (options) => clipTokenizer(files, options);
}

function beside(model: string): ClipTokenizerFiles | undefined {
  const folder = dirname(model);
  return filesIn(join(folder, 'tokenizer')) ?? filesIn(folder);
}
