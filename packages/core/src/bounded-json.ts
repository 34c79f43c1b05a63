import { readingBudget } from './reading-budget.js';

const [QUOTE, BACKSLASH, COMMA, COLON, MINUS] = [0x22, 0x5c, 0x2c, 0x3a, 0x2d];
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];
const [CAPITAL_N, CAPITAL_I] = [0x4e, 0x49];

/**
 * `JSON.parse` with bounds: nesting and the number of values are counted in one pass before anything is built, so a small
 * file cannot exhaust the stack or the memory. Throws a SyntaxError that says where.
 *
 * @param options.python takes `NaN`, `Infinity` and `-Infinity` too, which Python's json writes, as null
 */
export function parseJson(text: string, { python = false }: { readonly python?: boolean } = {}): unknown {
  const { jsonDepth, jsonValues } = readingBudget;
  const parts: string[] = [];
  let copied = 0;
  let depth = 0;
  let values = 1;
  for (let at = 0; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (c === QUOTE) {
      at = endOfString(text, at);
    } else if (c === OPEN_LIST || c === OPEN_OBJECT) {
      if (++depth > jsonDepth) throw new SyntaxError(`nested deeper than ${jsonDepth} at character ${at}`);
      values++;
    } else if (c === CLOSE_LIST || c === CLOSE_OBJECT) {
      depth--;
    } else if (c === COMMA || c === COLON) {
      values++;
    } else if (python && (c === CAPITAL_N || c === CAPITAL_I)) {
      const word = c === CAPITAL_N ? 'NaN' : 'Infinity';
      if (!text.startsWith(word, at)) continue; // JSON.parse says what is wrong.
      const negative = c === CAPITAL_I && text.charCodeAt(at - 1) === MINUS;
      parts.push(text.slice(copied, negative ? at - 1 : at), 'null');
      at += word.length - 1;
      copied = at + 1;
    }
    if (values > jsonValues) throw new SyntaxError(`holds more than ${jsonValues} values`);
  }
  return JSON.parse(parts.length === 0 ? text : parts.join('') + text.slice(copied));
}

/** Where the string that begins at `start` ends; the end of the text when it does not. */
function endOfString(text: string, start: number): number {
  for (let at = start + 1; at < text.length; at++) {
    const c = text.charCodeAt(at);
    if (c === BACKSLASH) at++;
    else if (c === QUOTE) return at;
  }
  return text.length;
}
