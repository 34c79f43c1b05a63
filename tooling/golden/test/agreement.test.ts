import { expect, test } from 'vitest';
import { rowAgreement } from '../src/agreement.js';

test('every metric on rows of features is within the bar of every library', () => {
  const lines = rowAgreement();
  expect(new Set(lines.map(({ library }) => library)).size).toBeGreaterThan(5);
  for (const { metric, library, theirs, ours } of lines) {
    expect(Math.abs(ours - theirs), `${metric}, ${library}`).toBeLessThanOrEqual(1e-3 * Math.abs(theirs));
  }
});
