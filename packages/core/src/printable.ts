/** Longest name or value out of a file that a message quotes, in UTF-16 units. */
const LONGEST_QUOTE = 200;
/** Longest line of a message. */
const LONGEST_LINE = 4096;
/** Longest message. */
const LONGEST_MESSAGE = 16_384;

/**
 * What a terminal must not be given: control characters (C0, C1, DEL), line and paragraph separators, characters that
 * turn the direction of text or cannot be seen, and halves of surrogate pairs. Joiners stay: emoji and some scripts need them.
 */
const UNPRINTABLE = /(?![\u200c\u200d])[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** `\n` and its like as JSON spells them. */
function escaped(character: string): string {
  const short: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };
  const units = () => Array.from({ length: character.length }, (_, i) => character.charCodeAt(i));
  return (
    short[character] ??
    units()
      .map((unit) => `\\u${unit.toString(16).padStart(4, '0')}`)
      .join('')
  );
}

/** The beginning and the end of a text that is too long, and how much lies between. */
function cut(text: string, longest: number): string {
  if (text.length <= longest) return text;
  const end = Math.floor(longest / 4);
  const left = text.length - longest;
  return `${text.slice(0, longest - end)}… (${left} characters) …${text.slice(-end)}`;
}

/**
 * A name or value out of a file, in double quotes, as it may stand in a message: escaped as in JSON together with all that
 * a terminal would obey, and cut in the middle when it is longer than 200 characters.
 */
export function quoted(value: unknown, longest: number = LONGEST_QUOTE): string {
  const text = cut(typeof value === 'string' ? value : describeValue(value), longest);
  const body = text.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replace(UNPRINTABLE, escaped);
  return typeof value === 'string' ? `"${body}"` : text.replace(UNPRINTABLE, escaped);
}

/**
 * A value out of a file where a text is expected: texts as they are, others described. `String` would call a `toString` that a
 * file may have made no function.
 */
export function textOf(value: unknown): string {
  return typeof value === 'string' ? value : quoted(value);
}

/** As {@link quoted} without the quotes, for names that stand in a list or before a colon. */
export function named(value: string): string {
  return cut(value, LONGEST_QUOTE).replace(UNPRINTABLE, escaped);
}

/** A list of names out of a file: the first `most`, each as {@link named}, and how many are left out. */
export function listed(names: readonly string[], most = 20): string {
  const shown = names.slice(0, most).map(named).join(', ');
  return names.length <= most ? shown : `${shown}, … and ${names.length - most} more`;
}

/**
 * A whole message as it may be printed. Line breaks stay only before two spaces: that is how our messages list their
 * points, and a name out of a file cannot begin a line that looks like one of ours. Everything else that a terminal
 * would obey is escaped; lines beyond 4,096 characters and messages beyond 16,384 are cut.
 */
export function printable(message: string): string {
  const whole = cut(message, 4 * LONGEST_MESSAGE);
  const lines = whole.split(/\n(?= {2})/);
  return cut(lines.map((line) => cut(line, LONGEST_LINE).replace(UNPRINTABLE, escaped)).join('\n'), LONGEST_MESSAGE);
}

/** A value that is no text: numbers and the like as they are, of an object only its kind. */
function describeValue(value: unknown): string {
  if (value === null || typeof value !== 'object') return typeof value === 'function' ? 'a function' : String(value);
  return Array.isArray(value) ? `a list of ${value.length}` : 'an object';
}
