import { quoted, readingBudget } from '@mezzotint/core';

/** A JSON value whose objects are Maps, so that no key is special and duplicates cannot hide. */
export type StrictJson = null | boolean | number | string | readonly StrictJson[] | ReadonlyMap<string, StrictJson>;

/**
 * Parses JSON as RFC 8259 has it, and refuses what `JSON.parse` lets pass: an object with the same key twice, and nesting
 * or a number of values beyond `readingBudget`. Throws a SyntaxError with the position.
 */
export function parseStrictJson(text: string): StrictJson {
  const { jsonDepth, jsonValues } = readingBudget;
  let at = 0;
  let values = 0;

  const fail = (problem: string): never => {
    throw new SyntaxError(`${problem} at character ${at}`);
  };
  const skipSpace = () => {
    for (; at < text.length; at++) {
      const c = text.charCodeAt(at);
      if (c !== 0x20 && c !== 0x0a && c !== 0x0d && c !== 0x09) return;
    }
  };
  const expect = (token: string) => {
    if (!text.startsWith(token, at)) fail(`expected ${token}`);
    at += token.length;
  };
  const literal = <T extends StrictJson>(token: string, value: T): T => {
    expect(token);
    return value;
  };
  const string = (): string => {
    const start = at;
    expect('"');
    for (; at < text.length; at++) {
      const c = text[at]!;
      if (c === '\\') at++;
      else if (c === '"') {
        at++;
        try {
          return JSON.parse(text.slice(start, at)) as string;
        } catch {
          at = start;
          return fail('malformed string');
        }
      }
    }
    return fail('unfinished string');
  };
  const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
  const number = (): number => {
    NUMBER.lastIndex = at;
    const match = NUMBER.exec(text);
    if (match === null) return fail('unexpected character');
    at += match[0].length;
    return Number(match[0]);
  };
  const array = (depth: number): StrictJson[] => {
    const items: StrictJson[] = [];
    expect('[');
    skipSpace();
    if (text[at] === ']') return literal(']', items);
    for (;;) {
      items.push(value(depth + 1));
      skipSpace();
      if (text[at] === ']') return literal(']', items);
      expect(',');
    }
  };
  const object = (depth: number): Map<string, StrictJson> => {
    const entries = new Map<string, StrictJson>();
    expect('{');
    skipSpace();
    if (text[at] === '}') {
      at++;
      return entries;
    }
    for (;;) {
      skipSpace();
      const key = string();
      if (entries.has(key)) fail(`the key ${quoted(key)} is there twice`);
      skipSpace();
      expect(':');
      entries.set(key, value(depth + 1));
      skipSpace();
      if (text[at] === '}') {
        at++;
        return entries;
      }
      expect(',');
    }
  };
  const value = (depth: number): StrictJson => {
    if (depth > jsonDepth) fail(`nested deeper than ${jsonDepth}`);
    if (++values > jsonValues) fail(`more than ${jsonValues} values`);
    skipSpace();
    switch (text[at]) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        return literal('true', true);
      case 'f':
        return literal('false', false);
      case 'n':
        return literal('null', null);
      default:
        return number();
    }
  };

  const root = value(0);
  skipSpace();
  if (at < text.length) fail('unexpected text after the value');
  return root;
}
