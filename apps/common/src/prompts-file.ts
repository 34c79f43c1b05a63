import { existsSync } from 'node:fs';
import { InvalidArgumentError, listed, readingBudget } from '@mezzotint/core';
import { readPlainText } from '@mezzotint/core/node';

/**
 * The prompts of a file, one a line. Blank lines are passed over; where each line belongs to a picture (`paired`) they would shift
 * the lines after them, and are an error, but for those at the end of the file.
 *
 * @param flag what named the file
 * @throws InvalidArgumentError when it is not there, has no line with a prompt, or has blank lines among those of pictures
 */
export function readPrompts(flag: string, path: string, { paired = false } = {}): string[] {
  if (!existsSync(path)) throw new InvalidArgumentError(flag, `${path}: no such file`);
  const isBlank = (line: string) => line.trim() === '';
  const lines = readPlainText(path, readingBudget.textBytes).split(/\r?\n/);
  const prompts = lines.filter((line) => !isBlank(line));
  if (prompts.length === 0) throw new InvalidArgumentError(flag, `${path} has no line with a prompt`);
  while (isBlank(lines.at(-1)!)) lines.pop();
  if (paired && prompts.length < lines.length) {
    const blank = lines.flatMap((line, i) => (isBlank(line) ? [String(i + 1)] : []));
    const problem = `${path}: expected a prompt for a picture in each line; blank are the lines ${listed(blank)}`;
    throw new InvalidArgumentError(flag, problem);
  }
  return prompts;
}
