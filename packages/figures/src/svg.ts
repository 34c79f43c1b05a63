import { createRequire } from 'node:module';
import type { Bitmap } from '@mezzotint/data';

/** Font of every text we draw; it comes with the package, so that text looks the same on a machine without fonts. */
export const FONT = 'DejaVu Sans';
const FONT_FILE = 'dejavu-fonts-ttf/ttf/DejaVuSans.ttf';

const require = createRequire(import.meta.url);

/** Draws an SVG on white. Fonts of the machine are not looked at. */
export function rasterizeSvg(svg: string): Bitmap & { readonly channels: 3 } {
  // A native library, which programs that draw nothing need not load.
  const { Resvg } = require('@resvg/resvg-js') as typeof import('@resvg/resvg-js');
  const fontFile = require.resolve(FONT_FILE);
  const font = { loadSystemFonts: false, fontFiles: [fontFile], defaultFontFamily: FONT };
  const { width, height, pixels } = new Resvg(svg, { background: '#fff', font }).render();
  const data = new Uint8Array(width * height * 3);
  for (let i = 0; i < width * height; i++) {
    data[3 * i] = pixels[4 * i]!;
    data[3 * i + 1] = pixels[4 * i + 1]!;
    data[3 * i + 2] = pixels[4 * i + 2]!;
  }
  return { data, height, width, channels: 3 };
}

/** Text made safe for an SVG. */
export function escapeXml(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  // biome-ignore lint/suspicious/noControlCharactersInRegex: XML forbids these characters
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, '').replace(/[&<>"]/g, (c) => entities[c]!);
}

/** Width of a text in pixels at a font size, a little generous: DejaVu Sans's widest common characters are 0.7 em. */
export function textWidth(text: string, fontSize: number): number {
  return Math.ceil(text.length * fontSize * 0.65);
}
