import { createRequire } from 'node:module';
import { MezzotintError } from '@mezzotint/core';
import type { Bitmap } from './bitmap.js';

/** How an SVG is drawn. */
export interface SvgOptions {
  /** Pixels; the height follows. Default: as the SVG says. */
  readonly width?: number;
  /** A font file and the name of its family, for texts; fonts of the machine are never looked at. */
  readonly font?: { readonly file: string; readonly family: string };
}

/**
 * Draws an SVG on white with the optional package `@resvg/resvg-js`.
 *
 * @throws MezzotintError with code `MEZZOTINT_MISSING_PACKAGE` when that is not installed
 */
export function rasterizeSvg(svg: string, { width, font }: SvgOptions = {}): Bitmap & { readonly channels: 3 } {
  const drawn = new (loadResvg())(svg, {
    background: '#fff',
    font: { loadSystemFonts: false, ...(font && { fontFiles: [font.file], defaultFontFamily: font.family }) },
    ...(width !== undefined && { fitTo: { mode: 'width', value: width } }),
  }).render();
  const { pixels, height } = drawn; // RGBA
  const data = new Uint8Array(drawn.width * height * 3);
  for (let i = 0; i < drawn.width * height; i++) {
    data[3 * i] = pixels[4 * i]!;
    data[3 * i + 1] = pixels[4 * i + 1]!;
    data[3 * i + 2] = pixels[4 * i + 2]!;
  }
  return { data, height, width: drawn.width, channels: 3 };
}

/** A native library, which programs that draw nothing need not have. */
function loadResvg(): typeof import('@resvg/resvg-js')['Resvg'] {
  try {
    return (createRequire(import.meta.url)('@resvg/resvg-js') as typeof import('@resvg/resvg-js')).Resvg;
  } catch (cause) {
    const problem =
      'SVG is drawn by the package @resvg/resvg-js, which could not be loaded (npm install @resvg/resvg-js)';
    throw new MezzotintError('MEZZOTINT_MISSING_PACKAGE', problem, { package: '@resvg/resvg-js' }, { cause });
  }
}
