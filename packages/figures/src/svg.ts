import { createRequire } from 'node:module';
import type { Bitmap } from '@mezzotint/data';
import { rasterizeSvg } from '@mezzotint/data/svg';

/** Font of every text we draw; it comes with the package, so that text looks the same on a machine without fonts. */
export const FONT = 'DejaVu Sans';
const FONT_FILE = 'dejavu-fonts-ttf/ttf/DejaVuSans.ttf';

/** Draws an SVG with our font, on white. */
export function drawSvg(svg: string): Bitmap & { readonly channels: 3 } {
  const file = createRequire(import.meta.url).resolve(FONT_FILE);
  return rasterizeSvg(svg, { font: { file, family: FONT } });
}

/** Text made safe for an SVG, without what XML 1.0 (section 2.2, Char) does not allow: control characters, lone surrogates, U+FFFE, U+FFFF. */
export function escapeXml(text: string): string {
  const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  return text
    .replace(/[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\u{10000}-\u{10FFFF}]/gu, '')
    .replace(/[&<>"]/g, (c) => entities[c]!);
}

/** Width of a text in pixels at a font size, a little generous: DejaVu Sans's widest common characters are 0.7 em. */
export function textWidth(text: string, fontSize: number): number {
  return Math.ceil(text.length * fontSize * 0.65);
}
