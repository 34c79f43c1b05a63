import type { Tokenizer } from '@mezzotint/text-encoders';

/** A line for the user. */
export type Note = (line: string) => void;

/**
 * Tells what a text encoder does not read of prompts that are cut: the words from the first that does not fit whole.
 *
 * @param length tokens that the text encoder takes, start and end included
 * @param about what there is to say beside it, after the number of tokens and at the end
 */
export function noteCuts(
  tokenizer: Tokenizer,
  prompts: readonly (string | null)[],
  length: number,
  note: Note,
  { reader = '', advice = '' }: { readonly reader?: string; readonly advice?: string } = {},
): void {
  const room = length - 1 - (tokenizer.start === null ? 0 : 1);
  for (const prompt of new Set(prompts)) {
    if (prompt === null || tokenizer.encode(prompt).length <= room) continue;
    const words = prompt.split(/(?<=\s)/u);
    let [low, high] = [0, words.length];
    while (low < high) {
      const middle = Math.ceil((low + high) / 2);
      if (tokenizer.encode(words.slice(0, middle).join('')).length <= room) low = middle;
      else high = middle - 1;
    }
    const left = words.slice(low).join('');
    const quoted = left.length > 200 ? `${left.slice(0, 200)}…` : left;
    note(`the prompt is longer than ${room} tokens${reader}; cut off: '${quoted}'${advice}`);
  }
}
