import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cleanCaption } from '../src/index.js';

// diffusers' IFPipeline with clean_caption=True, by tooling/golden/scripts/clean_caption.py.
const { cases, repaired } = JSON.parse(
  readFileSync(new URL('fixtures/clean-caption.json', import.meta.url), 'utf8'),
) as { readonly cases: readonly (readonly [string, string])[]; readonly repaired: readonly string[] };

test('captions are cleaned as diffusers cleans them', () => {
  expect(cases.length).toBeGreaterThan(150);
  const wrong = cases.flatMap(([caption, expected]) => {
    let got: string;
    try {
      got = cleanCaption(caption);
    } catch (error) {
      got = String(error);
    }
    return got === expected ? [] : [{ caption, expected, got }];
  });
  expect(wrong).toEqual([]);
});

test('text that ftfy would repair is refused with the piece that is wrong, never passed on', () => {
  expect(repaired.length).toBeGreaterThan(20);
  const passed = repaired.filter((caption) => {
    try {
      cleanCaption(caption);
      return true;
    } catch {
      return false;
    }
  });
  expect(passed).toEqual([]);
  expect(() => cleanCaption('the â€œbestâ€ cat')).toThrow(
    /cleanCaption: .*"â€œ" looks like UTF-8 .* promptCleaning "lowercase"/,
  );
});

test.each([
  ['<a href="x> link', /quotation mark that is never closed/],
  ['one <!-- two > three', /comment that never ends/],
  ['number &# <b>x</b>', /&# without a number/],
  ['a <b href=1&amp2 <c', /tag that never ends/],
])('HTML that breaks off is refused: %s', (caption, message) => {
  expect(() => cleanCaption(caption)).toThrow(message);
});
