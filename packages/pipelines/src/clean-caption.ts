import { InvalidArgumentError, quoted } from '@mezzotint/core';
import { decodeHTML, decodeHTMLStrict } from 'entities';
import { Parser } from 'htmlparser2';
import { mojibakeOf } from './mojibake.js';

/**
 * A caption as DeepFloyd IF's makers cleaned those of its training, and its prompts: links, HTML, names of files, numbers of articles,
 * advertisement and odd signs go, dashes and quotation marks become one kind, all letters small. Twice, as diffusers' pipelines do it
 * (`clean_caption=True`): what the first pass leaves may be a link or a tag.
 *
 * @throws InvalidArgumentError for text that looks like UTF-8 read in another encoding, which the reference (ftfy) tries to repair, and
 *   for HTML that is broken inside of a tag
 */
export function cleanCaption(caption: string): string {
  return once(once(caption));
}

function once(caption: string): string {
  const plain = unquotePlus(caption).replace(MARGINS, '').toLowerCase();
  const text = replaced(textOfHtml(replaced(plain, LINKS)), SIGNS);
  const readable = decodeHTML(decodeHTML(fixText(withoutJoints(text))));
  return replaced(readable, WORDS).replace(MARGINS, '');
}

type Rule = readonly [RegExp, string];

function replaced(text: string, rules: readonly Rule[]): string {
  return rules.reduce((rest, [what, by]) => rest.replace(what, by), text);
}

/** Python's classes of characters, which know all of Unicode, inside of brackets. */
const PYTHON: Readonly<Record<string, string>> = {
  w: '\\p{L}\\p{N}_',
  d: '\\p{Nd}',
  s: '\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000',
};
const WORD = `[${PYTHON.w}]`;

/** A regular expression with Python's meaning of `\w`, `\d`, `\D`, `\s`, `\S` and `\b`; `\w`, `\d`, `\s` also in brackets. */
function pattern(source: string): RegExp {
  let bracket = false;
  const own = source.replace(/\\(.)|\[|\]/gsu, (whole, letter: string | undefined) => {
    if (letter === undefined) {
      bracket = whole === '[';
      return whole;
    }
    if (letter === 'b') return `(?:(?<=${WORD})(?!${WORD})|(?<!${WORD})(?=${WORD}))`;
    const small = PYTHON[letter.toLowerCase()];
    if (small === undefined) return whole;
    if (bracket) return small;
    return letter in PYTHON ? `[${small}]` : `[^${small}]`;
  });
  return new RegExp(own, 'gu');
}

const rule = (source: string, by = ''): Rule => [pattern(source), by];

const MARGINS = pattern('^\\s+|\\s+$');

const ENDINGS = 'png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4';
const link = (start: string) =>
  rule(
    `\\b((?:${start}:(?:/{1,3}|[a-zA-Z0-9%])|[a-zA-Z0-9.\\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\\w/\\-]*\\b/?(?!@)))`,
  );

/** Before HTML is read. */
const LINKS: readonly Rule[] = [rule('<person>', 'person'), link('https?'), link('www')];

/** Names, scripts, signs, numbers: what stands for no picture. */
const SIGNS: readonly Rule[] = [
  rule('@[\\w\\d]+\\b'),
  // Strokes of CJK, phonetic extensions of Katakana, enclosed letters and months, compatibility, extension A, hexagrams, ideographs.
  rule('[\\u31c0-\\u31ef\\u31f0-\\u31ff\\u3200-\\u32ff\\u3300-\\u33ff\\u3400-\\u4dbf\\u4dc0-\\u4dff\\u4e00-\\u9fff]+'),
  rule(
    '[\\u002d\\u058a\\u05be\\u1400\\u1806\\u2010-\\u2015\\u2e17\\u2e1a\\u2e3a\\u2e3b\\u2e40\\u301c\\u3030\\u30a0\\ufe31\\ufe32\\ufe58\\ufe63\\uff0d]+',
    '-',
  ),
  rule('[`´«»“”¨]', '"'),
  rule('[‘’]', "'"),
  rule('&quot;?'),
  rule('&amp'),
  rule('\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}\\.\\d{1,3}', ' '), // addresses of the internet
  rule('\\d:\\d\\d\\s+$'),
  [/\\n/g, ' '],
  rule('#\\d{1,3}\\b'),
  rule('#\\d{5,}\\b'),
  rule('\\b\\d{6,}\\b'),
  rule(`\\S+\\.(?:${ENDINGS})`),
  rule('["\']{2,}', '"'),
  rule('\\.{2,}', ' '),
  [/[#®•©™&@·º½¾¿¡§~)(\][}{|\\/*]+/g, ' '],
  rule('\\s+\\.\\s+', ' '),
];

/** Words of shops and archives, and what the rules before have left loose. */
const WORDS: readonly Rule[] = [
  rule('\\b[a-zA-Z]{1,3}\\d{3,15}\\b'),
  rule('\\b[a-zA-Z]+\\d+[a-zA-Z]+\\b'),
  rule('\\b\\d+[a-zA-Z]+\\d+\\b'),
  rule('(worldwide\\s+)?(free\\s+)?shipping'),
  rule('(free\\s)?download(\\sfree)?'),
  rule('\\bclick\\b\\s(?:for|on)\\s\\w+'),
  rule(`\\b(?:${ENDINGS})(\\simages?)?`),
  rule('\\bpage\\s+\\d+\\b'),
  rule('\\b\\d*[a-zA-Z]+\\d+[a-zA-Z]+\\d+[a-zA-Z\\d]*\\b', ' '),
  rule('\\b\\d+\\.?\\d*[xх×]\\d+\\.?\\d*\\b'),
  rule('\\b\\s+:\\s+', ': '),
  rule('(\\D[,./])\\b', '$1 '),
  rule('\\s+', ' '),
  [/^["']([\s\S]+)["']$/, '$1'],
  [/^['_,\-:;]/, ''],
  [/['_,\-:+]$/, ''],
  rule('^\\.\\S+$'),
];

/** this-is-my-cute-cat: more than three joints are spaces. */
function withoutJoints(text: string): string {
  return (text.match(/[-_]/g)?.length ?? 0) > 3 ? text.replace(/[-_]/g, ' ') : text;
}

/** Python's `urllib.parse.unquote_plus`: + is a space, %xx are bytes of UTF-8, what is none becomes U+FFFD. */
function unquotePlus(text: string): string {
  const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });
  return text
    .replaceAll('+', ' ')
    .replace(/(?:%[0-9a-f]{2})+/gi, (run) =>
      utf8.decode(Uint8Array.from(run.slice(1).split('%'), (byte) => Number.parseInt(byte, 16))),
    );
}

/** What of a page is no text of it (beautifulsoup4's containers of other strings). */
const SILENT = new Set(['script', 'style', 'template', 'rt', 'rp']);

/** HTML that breaks off, where Python's parser takes pieces for text that are none. */
const BROKEN: readonly (readonly [RegExp, string])[] = [
  [/<[a-z][^<>]*=\s*(?:"[^"]*|'[^']*)$/, 'a tag with a quotation mark that is never closed'],
  [/<!--(?![\s\S]*-->)/, 'a comment that never ends'],
  [/&#(?![0-9]|x[0-9a-f])/, '&# without a number'],
  [/<[a-z/!?][^>]*&[^>]*$/, 'a tag that never ends, with & in it'],
];

/** The text of HTML as beautifulsoup4 gives it with Python's own parser: no text of scripts and comments, nothing between tags. */
function textOfHtml(html: string): string {
  const problem = BROKEN.find(([sign]) => sign.test(html));
  if (problem !== undefined) {
    throw new InvalidArgumentError(
      'cleanCaption',
      `${quoted(html)}: ${problem[1]}; write it out, or ask for promptCleaning "lowercase"`,
    );
  }
  // A tag that is never closed is none: Python's parser takes it for text.
  const end = html.lastIndexOf('>') + 1;
  const parts: string[] = [];
  let silent = 0;
  const parser = new Parser(
    {
      ontext(text) {
        if (silent === 0) parts.push(text);
      },
      onopentagname(name) {
        parts.push(TAG);
        if (SILENT.has(name)) silent += 1;
      },
      onclosetag(name) {
        parts.push(TAG);
        if (SILENT.has(name)) silent -= 1;
      },
      oncomment: () => void parts.push(TAG),
    },
    { decodeEntities: false, recognizeCDATA: true },
  );
  parser.write(html.slice(0, end).replaceAll('<![cdata[', '<![CDATA['));
  const tail = silent === 0 ? html.slice(end) : '';
  parser.end();
  return references(parts.join('') + tail).replaceAll(TAG, '');
}

/** Stands where a tag was, so that a reference without semicolon ends there. */
const TAG = '\0';

/**
 * &name; and &#number; as text, without semicolon where something else stands behind; a name that is none loses its semicolon, and one letter
 * behind the last & of a text the &.
 */
function references(text: string): string {
  return text
    .replace(/&[a-z]$/i, (end) => end.slice(1))
    .replace(/&(#(?:[0-9]+(?![0-9a-f])|x[0-9a-f]+)|[a-z][-.a-z0-9]*)(?:;|(?=[\s\S]))/gi, (whole, name: string) => {
      const strict = `&${name};`;
      const known = decodeHTMLStrict(strict);
      return known === strict ? (name.startsWith('#') ? whole : `&${name}`) : known;
    });
}

/** Ligatures that ftfy takes apart, of small letters. */
const LIGATURES: Readonly<Record<string, string>> = {
  ...{ ĳ: 'ij', ŉ: 'ʼn', ǳ: 'dz', ǆ: 'dž', ǉ: 'lj', ǌ: 'nj' },
  ...{ ﬀ: 'ff', ﬁ: 'fi', ﬂ: 'fl', ﬃ: 'ffi', ﬄ: 'ffl', ﬅ: 'ſt', ﬆ: 'st' },
};

/**
 * What ftfy's `fix_text` does to text that is no mojibake: ligatures, widths, quotation marks, line breaks, control characters, composed
 * letters.
 */
function fixText(text: string): string {
  const found = mojibakeOf(text);
  if (found !== null) {
    throw new InvalidArgumentError(
      'cleanCaption',
      `${quoted(text)}: ${quoted(found)} looks like UTF-8 that was read in another encoding, which is not repaired here; ` +
        'give the text as it should be, or ask for promptCleaning "lowercase"',
    );
  }
  return text
    .replace(/[ĳŉǳǆǉǌﬀ-ﬆ]/g, (one) => LIGATURES[one]!)
    .replace(/[\u3000\uff01-\uffef]/g, (one) => (one === '\u3000' ? ' ' : one.normalize('NFKC')))
    .replace(/[\u02bc\u2018-\u201b]/g, "'")
    .replace(/[\u201c-\u201f]/g, '"')
    .replace(/\r\n|[\r\u2028\u2029]/g, '\n')
    .replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, '\ufffd')
    .replace(/\p{Cc}/gu, (one) => ('\t\n\f\r'.includes(one) ? one : ''))
    .replace(/[\u206a-\u206f\ufeff\ufff9-\ufffc]/g, '')
    .normalize('NFC');
}
