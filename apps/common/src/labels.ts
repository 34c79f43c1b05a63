import { InvalidArgumentError } from '@mezzotint/core';

/**
 * Class indices from a list of names, indices and ranges such as `3,0-4,seven`; names come first where a class is
 * called by a number.
 *
 * @throws InvalidArgumentError that lists everything that is no class
 */
export function parseLabels(text: string, classes: readonly string[]): number[] {
  const problems: string[] = [];
  const labels = text.split(',').flatMap((part) => {
    const word = part.trim();
    const named = classes.indexOf(word);
    if (named >= 0) return [named];
    const range = /^(\d+)(?:-(\d+))?$/.exec(word);
    const [first, last] = range ? [Number(range[1]), Number(range[2] ?? range[1])] : [1, 0];
    if (range === null || last >= classes.length || first > last) {
      problems.push(`'${word}' is no label of this model, which knows ${listed(classes)} (0-${classes.length - 1})`);
      return [];
    }
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
  if (problems.length > 0) throw new InvalidArgumentError('--labels', problems);
  return labels;
}

function listed(classes: readonly string[]): string {
  return classes.length <= 12 ? classes.join(', ') : `${classes.slice(0, 12).join(', ')}, …`;
}
