import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { InvalidArgumentError, parseJson, readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';
import {
  type ClipVocabulary,
  type Tokenizer,
  trainClipVocabulary,
  type VocabularyOptions,
} from '@mezzotint/text-encoders';

/** A vocabulary that a configuration names, or one that is learned of captions. */
export function vocabularyOf(
  config: { readonly from: string } | VocabularyOptions,
  captions: readonly (readonly string[])[],
): ClipVocabulary {
  if ('from' in config) return readVocabulary(config.from);
  const texts = captions.flat();
  if (texts.length === 0) {
    throw new InvalidArgumentError(
      'tokenizer',
      'the pictures have no captions: put cat.txt beside cat.png, or a captions.jsonl into the folder',
    );
  }
  return trainClipVocabulary(texts, config);
}

/** Reads vocab.json and merges.txt of a folder, of its `tokenizer/`, or of a run's `model/`. */
function readVocabulary(path: string): ClipVocabulary {
  const places = [path, join(path, 'tokenizer'), join(path, 'model')];
  const folder = places.find((place) => ['vocab.json', 'merges.txt'].every((name) => existsSync(join(place, name))));
  if (folder === undefined) {
    throw new InvalidArgumentError('tokenizer.from', `${path}: expected a folder with vocab.json and merges.txt`);
  }
  const text = (name: string) => readPlainText(join(folder, name), readingBudget.textBytes);
  return { vocab: parseJson(text('vocab.json')) as ClipVocabulary['vocab'], merges: text('merges.txt') };
}

/** SHA-256 of a vocabulary: with another one, tokens stand for other texts. */
export function vocabularyHash(vocabulary: ClipVocabulary): string {
  return createHash('sha256').update(JSON.stringify(vocabulary)).digest('hex');
}

/** Captions whose tokens are counted before a training: seconds' work. */
const MOST_COUNTED = 10_000;

/** A line for people where captions are longer than what is read of them: `length` tokens, start and end included. */
export function cutNotes(
  captions: readonly (readonly string[])[],
  { tokenizer, length }: { readonly tokenizer: Tokenizer; readonly length: number },
): string[] {
  const all = captions.flat();
  const counted = all.slice(0, MOST_COUNTED);
  const room = length - (tokenizer.start === null ? 1 : 2);
  const cut = counted.filter((caption) => tokenizer.encode(caption).length > room).length;
  if (cut === 0) return [];
  const of = counted.length < all.length ? `the first ${counted.length}` : counted.length;
  return [`${cut} of ${of} captions are longer than ${length} tokens and are cut.`];
}
