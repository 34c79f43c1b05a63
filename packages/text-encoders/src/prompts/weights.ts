/** A piece of a prompt and how strongly it counts; 1 is normal. */
export interface WeightedText {
  readonly text: string;
  readonly weight: number;
}

/** What `(…)` multiplies by and `[…]` divides by. */
const STEP = 1.1;
/** A bracket inside so many open ones of its kind is text: a hostile prompt takes no more time than its length asks for. */
const DEEPEST = 64;

/** Escaped characters, brackets, the end of `(text:1.2)`, and everything between. */
const TOKEN = /\\([()[\]\\])|(\\)|([([])|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|([)\]])|([^\\()[\]:]+|:)/gu;

/**
 * Parses weights in a prompt, as the Stable Diffusion web UI writes them: `(a)` counts 1.1 times, `((a))` 1.1^2,
 * `[a]` 1 / 1.1, `(a:1.5)` 1.5 times; they multiply when nested. `\(`, `\)`, `\[`, `\]` and `\\` are the characters.
 * A bracket that is never closed works to the end. Neighbours of equal weight become one; an empty text gives none.
 */
export function parseWeights(prompt: string): WeightedText[] {
  const found: { text: string; weight: number }[] = [];
  /** Where the brackets that are open begin. Each kind closes its own, whatever the other does. */
  const [round, square]: [number[], number[]] = [[], []];
  const close = (from: number, factor: number): void => {
    for (const part of found.slice(from)) part.weight *= factor;
  };
  for (const [whole, escaped, slash, opening, weight, closing, text] of prompt.matchAll(TOKEN)) {
    const opened = opening === '(' ? round : square;
    if (opening !== undefined && opened.length < DEEPEST) {
      opened.push(found.length);
    } else if (weight !== undefined && round.length > 0) {
      close(round.pop()!, Number(weight));
    } else if (closing === ')' && round.length > 0) {
      close(round.pop()!, STEP);
    } else if (closing === ']' && square.length > 0) {
      close(square.pop()!, 1 / STEP);
    } else {
      found.push({ text: escaped ?? slash ?? text ?? whole, weight: 1 });
    }
  }
  for (const from of round) close(from, STEP);
  for (const from of square) close(from, 1 / STEP);
  return merged(found);
}

function merged(parts: readonly WeightedText[]): WeightedText[] {
  const result: WeightedText[] = [];
  for (const part of parts) {
    const last = result.at(-1);
    if (last?.weight === part.weight) result[result.length - 1] = { ...last, text: last.text + part.text };
    else result.push(part);
  }
  return result;
}
