import { InvalidArgumentError } from '@mezzotint/core';
import type { Bitmap } from '@mezzotint/data';
import { scaleLinear, scaleLog } from 'd3-scale';
import { drawSvg, escapeXml, FONT, textWidth } from './svg.js';

/** One line of a plot. */
export interface PlotSeries {
  readonly name: string;
  /** Values; those that are not finite (on a log axis: not positive) leave a gap. */
  readonly y: ArrayLike<number>;
  /** Places of the values, ascending. Default 0, 1, 2, ... */
  readonly x?: ArrayLike<number>;
  /**
   * Weight in [0, 1) of the past in an exponential average that is drawn bold over the pale values; starts without
   * bias. Default 0: the values alone.
   */
  readonly smooth?: number;
  /** A text for each value: draws dots with these texts beside them, and no line. */
  readonly marks?: readonly string[];
}

/** How a plot looks. */
export interface PlotOptions {
  readonly title?: string;
  readonly xLabel?: string;
  readonly yLabel?: string;
  /** Default linear. */
  readonly xScale?: 'linear' | 'log';
  /** Default linear. */
  readonly yScale?: 'linear' | 'log';
  /** Default 960. */
  readonly width?: number;
  /** Default 540. */
  readonly height?: number;
}

/** Colours that stay apart for colour-blind readers (Okabe and Ito), strongest first. */
const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9', '#000000'] as const;

interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * Lines over one pair of axes, with ticks, title and legend: a loss over steps, for example.
 *
 * @throws InvalidArgumentError when x and y differ in length, or no value can be drawn
 */
export function plotLines(series: readonly PlotSeries[], options: PlotOptions = {}): Bitmap {
  return drawSvg(plotSvg(series, options));
}

/** The plot of {@link plotLines} as SVG text. */
export function plotSvg(series: readonly PlotSeries[], options: PlotOptions = {}): string {
  const { title, xLabel, yLabel, xScale = 'linear', yScale = 'linear', width = 960, height = 540 } = options;
  check(series, width, height);
  const usable = (y: number) => Number.isFinite(y) && (yScale === 'linear' || y > 0);
  const lines = series.map((one) => ({ raw: points(one, one.y), smooth: points(one, smoothed(one, usable)) }));
  const drawn = (p: Point) => usable(p.y) && Number.isFinite(p.x) && (xScale === 'linear' || p.x > 0);
  const all = lines.flatMap(({ raw }) => raw).filter(drawn);
  if (all.length === 0) {
    throw new InvalidArgumentError(
      'plotLines',
      `expected at least one finite${yScale === 'log' ? ', positive' : ''} value`,
    );
  }

  const xDomain = widened(extent(all.map((p) => p.x)), xScale);
  const x = xScale === 'log' ? scaleLog().domain([xDomain[0] / 1.2, xDomain[1] * 1.8]) : scaleLinear().domain(xDomain);
  const yDomain = widened(extent(all.map((p) => p.y)), yScale);
  const y =
    yScale === 'log' ? scaleLog().domain([yDomain[0] / 1.1, yDomain[1] * 1.1]) : scaleLinear().domain(yDomain).nice();
  const yTicks = ticksOf(y, yScale);
  const named = series.filter((one) => one.name !== '').length > 0;
  const [left, right] = [20 + (yLabel ? 24 : 0) + Math.max(...yTicks.map((t) => textWidth(t.text, 13))), width - 24];
  const entries = named ? legendPlaces(series, right - left) : [];
  const legendRows = Math.max(0, ...entries.map(({ row }) => row + 1));
  const box = {
    ...{ left, right },
    top: 20 + (title ? 30 : 0) + (named ? 4 + LEGEND_ROW * legendRows : 0),
    bottom: height - 36 - (xLabel ? 24 : 0),
  };
  x.range([box.left, box.right]);
  y.range([box.bottom, box.top]);
  const linearTicks = x.ticks(Math.max(2, Math.floor((box.right - box.left) / 90)));
  const linearText = x.tickFormat(linearTicks.length);
  const xTicks = xScale === 'log' ? ticksOf(x, 'log') : linearTicks.map((at) => ({ at, text: linearText(at) }));

  const dots = lines.flatMap(({ raw }, i) => (series[i]!.marks ? raw.filter(drawn) : []));
  const taken: Box[] = dots.map((p) => ({ left: x(p.x) - 5, right: x(p.x) + 5, top: y(p.y) - 5, bottom: y(p.y) + 5 }));
  const place = (p: Point): Point | null => (drawn(p) ? { x: x(p.x), y: y(p.y) } : null);
  const parts = [
    ...yTicks.map(({ at, text }) => line(box.left, y(at), box.right, y(at), text === '' ? '#f2f2f2' : '#e3e3e3')),
    ...yTicks.map(({ at, text }) => label(text, box.left - 8, y(at) + 4.5, { anchor: 'end' })),
    line(box.left, box.bottom, box.right, box.bottom, '#444'),
    ...xTicks.map(({ at }) => line(x(at), box.bottom, x(at), box.bottom + 5, '#444')),
    ...xTicks.map(({ at, text }) => label(text, x(at), box.bottom + 21, {})),
    title ? label(title, box.left, 32, { anchor: 'start', size: 18, color: '#111' }) : '',
    xLabel ? label(xLabel, (box.left + box.right) / 2, height - 12, { size: 14 }) : '',
    yLabel
      ? label(yLabel, 0, 0, { size: 14, transform: `translate(20 ${(box.top + box.bottom) / 2}) rotate(-90)` })
      : '',
    ...lines.flatMap(({ raw, smooth }, i) => {
      const color = COLORS[i % COLORS.length]!;
      const { marks } = series[i]!;
      if (marks) return raw.map(place).flatMap((p, k) => (p ? mark(marks[k] ?? '', p, color, taken) : []));
      if (!series[i]!.smooth) return [path(raw.map(place), color, 2, 1)];
      return [path(raw.map(place), color, 1, 0.3), path(smooth.map(place), color, 2.5, 1)];
    }),
    ...legend(series, entries, box.left, box.top - 16 - LEGEND_ROW * (legendRows - 1)),
  ];
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="${FONT}">`;
  return `${svg}<rect width="${width}" height="${height}" fill="#fff"/>${parts.join('')}</svg>`;
}

/** Places and texts of the ticks of y; on a log axis over several decades only powers of ten have a text, over fewer also 2 and 5. */
function ticksOf(
  y: ReturnType<typeof scaleLinear<number, number>> | ReturnType<typeof scaleLog<number, number>>,
  kind: 'linear' | 'log',
): { at: number; text: string }[] {
  const ticks = y.ticks(6);
  if (kind === 'linear') {
    const format = y.tickFormat(6);
    return ticks.map((at) => ({ at, text: format(at) }));
  }
  const [low, high] = extent(y.domain());
  const decades = Math.log10(high / low);
  return y.ticks().map((at) => {
    const leading = Math.round(at / 10 ** Math.floor(Math.log10(at) + 1e-9));
    const shown = leading === 1 || decades < 0.7 || (decades <= 2 && (leading === 2 || leading === 5));
    return { at, text: shown ? String(Number(at.toPrecision(3))) : '' };
  });
}

/** The bold line: m = s m + (1 - s) y, divided by 1 - s^k so that the start is not drawn to zero. */
function smoothed({ y, smooth = 0 }: PlotSeries, usable: (y: number) => boolean): Float64Array {
  const out = new Float64Array(y.length);
  let mean = 0;
  let weight = 0;
  for (let i = 0; i < y.length; i++) {
    if (usable(y[i]!)) {
      mean = smooth * mean + (1 - smooth) * y[i]!;
      weight = smooth * weight + (1 - smooth);
    }
    out[i] = weight > 0 ? mean / weight : Number.NaN;
  }
  return out;
}

function points({ x }: PlotSeries, y: ArrayLike<number>): Point[] {
  return Array.from({ length: y.length }, (_, i) => ({ x: x ? x[i]! : i, y: y[i]! }));
}

function extent(values: readonly number[]): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  return [low, high];
}

/** A range that is not a point. */
function widened([low, high]: [number, number], kind: 'linear' | 'log'): [number, number] {
  if (low < high) return [low, high];
  if (kind === 'log') return [low / 2, high * 2];
  const by = Math.abs(low) / 2 || 1;
  return [low - by, high + by];
}

/**
 * A line through the points, broken at nulls. Of points in the same pixel column only first, lowest, highest and last
 * are kept, which looks the same and keeps a million points small.
 */
function path(places: readonly (Point | null)[], color: string, width: number, opacity: number): string {
  const commands: string[] = [];
  let pen = 'M';
  const put = (p: Point) => {
    commands.push(`${pen}${p.x.toFixed(1)} ${p.y.toFixed(1)}`);
    pen = 'L';
  };
  for (let i = 0; i < places.length; ) {
    const start = places[i];
    if (!start) {
      pen = 'M';
      i += 1;
      continue;
    }
    let [end, low, high] = [i, i, i];
    for (let k = i; k < places.length && places[k] && Math.floor(places[k]!.x) === Math.floor(start.x); k++) {
      if (places[k]!.y < places[low]!.y) low = k;
      if (places[k]!.y > places[high]!.y) high = k;
      end = k;
    }
    for (const k of [...new Set([i, low, high, end])].sort((a, b) => a - b)) put(places[k]!);
    i = end + 1;
  }
  const stroke = `fill="none" stroke="${color}" stroke-width="${width}" stroke-opacity="${opacity}"`;
  return `<path d="${commands.join('')}" ${stroke} stroke-linejoin="round" stroke-linecap="round"/>`;
}

/** Height of a row of the legend. */
const LEGEND_ROW = 22;

/** Where each name of the legend stands: in rows of at most `width` pixels. */
function legendPlaces(series: readonly PlotSeries[], width: number): { readonly x: number; readonly row: number }[] {
  let [x, row] = [0, 0];
  return series.map(({ name }) => {
    const wide = 30 + textWidth(name, 13);
    if (x > 0 && x + wide > width) [x, row] = [0, row + 1];
    const place = { x, row };
    x += wide + 20;
    return place;
  });
}

function legend(
  series: readonly PlotSeries[],
  places: ReturnType<typeof legendPlaces>,
  left: number,
  top: number,
): string[] {
  return places.flatMap(({ x, row }, i) => {
    const [at, y] = [left + x, top + row * LEGEND_ROW];
    const color = COLORS[i % COLORS.length]!;
    return [line(at, y - 4.5, at + 22, y - 4.5, color, 3), label(series[i]!.name, at + 30, y, { anchor: 'start' })];
  });
}

function line(x1: number, y1: number, x2: number, y2: number, color: string, width = 1): string {
  const [a, b, c, d] = [x1, y1, x2, y2].map((v) => v.toFixed(1));
  return `<line x1="${a}" y1="${b}" x2="${c}" y2="${d}" stroke="${color}" stroke-width="${width}"/>`;
}

interface Box {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

/** A dot with a text beside it: where it covers nothing that is `taken`, the first of right, left, above and below. */
function mark(text: string, { x, y }: Point, color: string, taken: Box[]): string[] {
  const width = textWidth(text, 13);
  const places = [
    { x: x + 8, y: y + 4.5 },
    { x: x - 8 - width, y: y + 4.5 },
    { x: x - width / 2, y: y - 9 },
    { x: x - width / 2, y: y + 19 },
  ];
  const boxOf = (p: Point): Box => ({ left: p.x, right: p.x + width, top: p.y - 11, bottom: p.y + 3 });
  const free = (box: Box) =>
    !taken.some((t) => t.left < box.right && box.left < t.right && t.top < box.bottom && box.top < t.bottom);
  const at = places.find((p) => free(boxOf(p))) ?? places[0]!;
  taken.push(boxOf(at));
  const dot = `<circle cx="${x.toFixed(1)}" cy="${y.toFixed(1)}" r="4.5" fill="${color}"/>`;
  // A text on the left ends at the dot, however wide its letters are.
  const left = at === places[1];
  return [dot, label(text, left ? x - 8 : at.x, at.y, { anchor: left ? 'end' : 'start' })];
}

interface LabelStyle {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly size?: number;
  readonly color?: string;
  readonly transform?: string;
}

function label(text: string, x: number, y: number, style: LabelStyle): string {
  const { anchor = 'middle', size = 13, color = '#444', transform } = style;
  const place = `x="${x.toFixed(1)}" y="${y.toFixed(1)}"${transform ? ` transform="${transform}"` : ''}`;
  return `<text ${place} font-size="${size}" text-anchor="${anchor}" fill="${color}">${escapeXml(text)}</text>`;
}

function check(series: readonly PlotSeries[], width: number, height: number): void {
  const problems = [];
  if (series.length === 0) problems.push('expected at least one series');
  for (const { name, x, y, smooth = 0 } of series) {
    if (x && x.length !== y.length) problems.push(`${name}: expected as many x as y, got ${x.length} and ${y.length}`);
    if (!(smooth >= 0 && smooth < 1)) problems.push(`${name}: expected smooth in [0, 1), got ${smooth}`);
  }
  for (const [side, value] of Object.entries({ width, height })) {
    if (!Number.isInteger(value) || value < 200 || value > 8192) {
      problems.push(`expected ${side} to be an integer from 200 to 8192, got ${value}`);
    }
  }
  if (problems.length > 0) throw new InvalidArgumentError('plotLines', problems);
}
