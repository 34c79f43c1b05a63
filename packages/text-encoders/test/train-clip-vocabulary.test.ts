import { expect, test } from 'vitest';
import { clipTokenizer, trainClipVocabulary } from '../src/index.js';

const captions = [
  'a red heart, twemoji style',
  'a red apple, noto style',
  'a green apple, noto style',
  'the purple cat’s face',
  "it's a cat, they're cats: 12 cats!",
  'a smiling face 😀 with smiling eyes',
  'größere Äpfel für größere Katzen',
];

/** How often each pair of neighbours stands in the words of texts, counted anew from the merges so far: nothing is kept up to date. */
function counted(texts: readonly string[], merges: readonly string[]): Map<string, number> {
  const letters = clipTokenizer(trainClipVocabulary(texts, { size: 514 }));
  const { vocab } = trainClipVocabulary(texts, { size: 514 });
  const names = Object.keys(vocab);
  const counts = new Map<string, number>();
  for (const text of texts) {
    // Letters of the whole text; a word ends with </w>.
    let word: string[] = [];
    for (const id of letters.encode(text)) {
      word.push(names[id]!);
      if (!names[id]!.endsWith('</w>')) continue;
      for (const merge of merges) {
        const [left, right] = merge.split(' ') as [string, string];
        for (let i = 0; i + 1 < word.length; i++)
          if (word[i] === left && word[i + 1] === right) word.splice(i, 2, left + right);
      }
      for (let i = 0; i + 1 < word.length; i++) {
        const pair = `${word[i]} ${word[i + 1]}`;
        counts.set(pair, (counts.get(pair) ?? 0) + 1);
      }
      word = [];
    }
  }
  return counts;
}

test('each merge is of a pair that is the most frequent one after the merges before it', () => {
  const { merges } = trainClipVocabulary(captions, { size: 560, minFrequency: 2 });
  const list = merges.trim().split('\n').slice(1);
  expect(list.length).toBeGreaterThan(30);
  list.forEach((merge, n) => {
    const counts = counted(captions, list.slice(0, n));
    expect(counts.get(merge)).toBe(Math.max(...counts.values()));
  });
});

test('it ends when no pair stands often enough, and the tokenizer of its files reads frequent words as one token', () => {
  const files = trainClipVocabulary(captions, { size: 4096 });
  const { vocab } = files;
  const size = Object.keys(vocab).length;
  expect(size).toBeLessThan(700);
  expect(vocab['<|endoftext|>']).toBe(size - 1);
  expect(vocab['<|startoftext|>']).toBe(size - 2);
  expect(vocab['!']).toBe(0);
  expect(vocab['!</w>']).toBe(256);
  const tokenizer = clipTokenizer(files, { maxLength: 32 });
  expect(tokenizer.encode('apple')).toEqual([vocab['apple</w>']]);
  expect(tokenizer.encode('Apple style')).toEqual([vocab['apple</w>'], vocab['style</w>']]);
  // Words that were never seen are bytes and parts.
  expect(tokenizer.encode('日本').every((id) => id < size - 2)).toBe(true);
  expect(trainClipVocabulary([...captions], { size: 4096 })).toEqual(files);
});

test('a size without room for bytes, start and end is refused', () => {
  expect(() => trainClipVocabulary(captions, { size: 513, minFrequency: 0 })).toThrow(
    /size: expected at least 514 tokens.*got 513[\s\S]*minFrequency/,
  );
});
