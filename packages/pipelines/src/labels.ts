import { InvalidArgumentError, listed, quoted } from '@mezzotint/core';

/** Classes that are listed in an error. */
const SHOWN = 12;

/**
 * Class indices from a list of names, numbers and ranges such as `3,0-4,seven`. Where classes are called by numbers, a number
 * and a range are of those names (`1-3` are the classes called 1, 2 and 3, also `01`, `02`, `03`); elsewhere they are indices
 * from 0. `#2` and `#0-#4` are indices whatever the names.
 *
 * @throws InvalidArgumentError that lists everything that is no class, or could be two
 */
export function parseLabels(text: string, classes: readonly string[]): number[] {
  const byNumber = new Map<number, number[]>();
  for (const [index, name] of classes.entries()) {
    if (/^\d+$/.test(name)) byNumber.set(Number(name), [...(byNumber.get(Number(name)) ?? []), index]);
  }
  const problems: string[] = [];
  const labels = text.split(',').flatMap((part) => {
    const word = part.trim();
    const found = labelsOf(word, classes, byNumber);
    if (typeof found === 'string') problems.push(found);
    return typeof found === 'string' ? [] : found;
  });
  if (problems.length > 0) throw new InvalidArgumentError('labels', problems);
  return labels;
}

/** The indices that a word means, or what is wrong with it. */
function labelsOf(
  word: string,
  classes: readonly string[],
  byNumber: ReadonlyMap<number, readonly number[]>,
): number[] | string {
  const named = classes.indexOf(word);
  const match = /^(#?)(\d+)(?:-(#?)(\d+))?$/.exec(word);
  const unknown = `${quoted(word)} is no label of this model, which knows ${listed(classes, SHOWN)} (#0-#${classes.length - 1})`;
  if (match === null) return named < 0 ? unknown : [named];
  const [, hash = '', first = '', secondHash = hash, second = first] = match;
  if (hash !== secondHash || Number(first) > Number(second)) return named < 0 ? unknown : [named];
  const [from, to] = [Number(first), Number(second)];
  const isIndex = hash === '#' || byNumber.size === 0;
  if (named >= 0) {
    // A class may be called `1-3`; it must not be that and a range.
    const isRange = word.includes('-') && (isIndex ? to < classes.length : byNumber.has(from) && byNumber.has(to));
    return isRange ? `${quoted(word)} is a class and a range: write #${named}, or the classes of the range` : [named];
  }
  if (to - from >= classes.length) return unknown;
  const numbers = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  if (isIndex) return to < classes.length ? numbers : unknown;
  const missing = numbers.filter((number) => !byNumber.has(number));
  if (missing.length > 0) {
    const which = word === String(missing[0]) ? '' : ` (there is no ${listed(missing.map(String), SHOWN)})`;
    return `${unknown}${which}; classes are called by numbers here, an index is written #${from}`;
  }
  const twice = numbers.find((number) => byNumber.get(number)!.length > 1);
  if (twice !== undefined) {
    return `${quoted(word)}: ${twice} could be ${listed(byNumber.get(twice)!.map((index) => classes[index]!))}; write the name`;
  }
  return numbers.map((number) => byNumber.get(number)![0]!);
}
