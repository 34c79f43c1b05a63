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
