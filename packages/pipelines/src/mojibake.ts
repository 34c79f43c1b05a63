/** Encodings that UTF-8 is read in by mistake (those that ftfy tries), by the names of the Encoding standard. */
const LATIN = [1252, 1251, 1250, 1253, 1254, 1257].map((page) => `windows-${page}`).concat('iso-8859-2');

/** What bytes from 0x80 on are in IBM's code page 437, which the Encoding standard has not. */
const CP437 =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0';

/** Signs that stand behind a letter in right text. */
const USUAL = '…‚„†‡•°²³¹ªº™«»‹›¡¿–—';

/** Characters of bytes from 0x80 on, in each encoding. */
function upperHalf(encoding: string): string[] {
  const decoder = new TextDecoder(encoding);
  return Array.from({ length: 128 }, (_, i) => decoder.decode(Uint8Array.of(0x80 + i)));
}

let known: RegExp[] | undefined;

/**
 * The first piece of a text that could be UTF-8 which was read in another encoding, such as "â€œ"; null where there is none. Careful:
 * some right texts are among them, but no text that ftfy would repair is missed for want of its lists of what is likely.
 */
export function mojibakeOf(text: string): string | null {
  if (/[\x80-\x9f]/.test(text)) return /[\x80-\x9f]/.exec(text)![0];
  known ??= [
    sequences(LATIN.map(upperHalf), true),
    sequences([upperHalf('macintosh')], false),
    sequences([[...CP437]], false),
  ];
  for (const sequence of known) {
    for (const [piece] of text.matchAll(sequence)) {
      // Ukrainian ends words in letters that could be one; small letters of Cyrillic alone never are what UTF-8 was read as.
      if (!/^\p{sc=Cyrillic}+$/u.test(piece)) return piece;
    }
  }
  return null;
}

/** Sequences of UTF-8 by what their bytes are in encodings; `spaced` also those that have lost a byte 0xa0 to a space. */
function sequences(pages: readonly (readonly string[])[], spaced: boolean): RegExp {
  const set = (from: number, to: number) => {
    const all = pages.flatMap((page) => page.slice(from - 0x80, to - 0x80 + 1)).filter((one) => one !== '\ufffd');
    return [...new Set(all)].map((one) => `\\u{${one.codePointAt(0)!.toString(16)}}`).join('');
  };
  const next = `[${set(0x80, 0xbf)}]`;
  const odd = `(?:(?![${USUAL}])${next})`;
  const [two, three, four] = [set(0xc2, 0xdf), set(0xe0, 0xef), set(0xf0, 0xf4)].map((one) => `[${one}]`);
  const lost = spaced ? [`${three} ${odd}`, `${three}${odd} `] : [];
  return new RegExp([`${four}${next}{3}`, `${three}${next}{2}`, `${two}${next}`, ...lost].join('|'), 'gu');
}
