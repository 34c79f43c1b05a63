import { type HostTensor, type Module, type Param, type WeightSource, WeightsMismatchError } from '@mezzotint/core';

/** What became of each parameter and of each tensor when a model was given weights of another. */
export interface InitReport {
  /** Taken as they are. */
  readonly loaded: readonly string[];
  /** Taken in another form, and how; not `whole` where a part is left as it was drawn. */
  readonly adapted: readonly { readonly name: string; readonly how: string; readonly whole: boolean }[];
  /** Left as they were drawn, and why. */
  readonly fresh: readonly { readonly name: string; readonly why: string }[];
  /** Tensors that the model has no place for. */
  readonly unused: readonly string[];
}

/** What is known of the two models beside their weights. */
export interface InitOptions {
  /**
   * Rows of label tables: the row of the weights that the model's row i begins with, null for a class that they do not have. The last may
   * be the null label's, which some tables do not have. When absent, tables of the same number of rows are taken as they are, and others
   * drawn anew.
   */
  readonly rows?: readonly (number | null)[];
}

/**
 * Gives an initialised model the weights of another one that may differ: a table of positions is resampled to the model's grid (bicubic),
 * a table of labels takes the rows of classes that both have, and what fits in no way is left as it was drawn. Nothing is
 * changed unless every tensor could be read.
 *
 * @throws WeightsMismatchError when no tensor at all fits
 */
export async function initFrom(model: Module, weights: WeightSource, { rows }: InitOptions = {}): Promise<InitReport> {
  const loaded: string[] = [];
  const adapted: { name: string; how: string; whole: boolean }[] = [];
  const fresh: { name: string; why: string }[] = [];
  const values = new Map<Param, HostTensor>();
  const params = model.params();
  for (const [name, param] of params) {
    const stored = weights.tensors.get(name);
    if (stored === undefined) {
      fresh.push({ name, why: 'is not in the weights' });
      continue;
    }
    const others = otherRows(name, param, stored.shape, rows);
    if (others === undefined && String(stored.shape) === String(param.fileShape)) {
      values.set(param, await weights.read(name));
      loaded.push(name);
      continue;
    }
    const way = others ?? wayOf(name, param, stored.shape);
    if (typeof way === 'string') {
      fresh.push({ name, why: way });
      continue;
    }
    const own = way.needsOwn ? await param.toHost() : undefined;
    values.set(param, way.convert(await weights.read(name), own));
    adapted.push({ name, how: way.how, whole: way.whole });
  }
  const unused = [...weights.tensors.keys()].filter((name) => !params.has(name));
  if (values.size === 0) {
    const { missing, unexpected, mismatched } = model.compare(weights);
    throw new WeightsMismatchError(model.constructor.name, missing, unexpected, mismatched);
  }
  for (const [param, tensor] of values) param.fromHost(tensor);
  return { loaded, adapted, fresh, unused };
}

/** How a tensor of another shape becomes a parameter. */
interface Way {
  readonly how: string;
  /** Nothing of it is left as it was drawn. */
  readonly whole: boolean;
  readonly needsOwn?: boolean;
  convert(stored: HostTensor, own: HostTensor | undefined): HostTensor;
}

/** The way from a shape to a parameter's, or why there is none. */
function wayOf(name: string, param: Param, from: readonly number[]): Way | string {
  const to = param.fileShape;
  const shapes = `[${from.join(', ')}], the model has [${to.join(', ')}]`;
  if (!param.trainable && isPositions(name, from, to)) return `is computed for the model's own size (${shapes})`;
  if (isPositions(name, from, to)) {
    const grid = gridsOf(from.at(-2)!, to.at(-2)!);
    if (grid === undefined) return `positions of no square grid: ${shapes}`;
    const { extra, old, now } = grid;
    return {
      how: `positions resampled from ${old} x ${old} to ${now} x ${now}`,
      whole: true,
      convert: ({ data }) => ({ shape: to, data: resampled(data, from.at(-1)!, extra, old, now) }),
    };
  }
  return `has another shape: ${shapes}`;
}

/**
 * The way to a label table whose rows are other ones than those of the weights; undefined for what is no such table, or has the same rows. A
 * linear layer of one-hot labels has them as columns (EDM) and none for the null label.
 */
function otherRows(
  name: string,
  param: Param,
  from: readonly number[],
  rows: InitOptions['rows'] = [],
): Way | undefined {
  const to = param.fileShape;
  if (to.length !== 2 || from.length !== 2 || !/label|class|y_embedder|cond_proj/.test(name)) return undefined;
  const axis = [0, 1].find((at) => from[1 - at] === to[1 - at] && [rows.length, rows.length - 1].includes(to[at]!));
  if (axis === undefined) return undefined;
  const origins = rows.slice(0, to[axis]).map((row) => (row === null || row >= from[axis]! ? null : row));
  if (from[axis] === to[axis] && origins.every((row, i) => row === i)) return undefined;
  const kept = origins.filter((row) => row !== null).length;
  return {
    how: `${kept} of ${origins.length} ${axis === 0 ? 'rows' : 'columns'} of classes that both have`,
    whole: kept === origins.length,
    needsOwn: true,
    convert: ({ data }, own) => {
      const out = Float32Array.from(own!.data);
      const place = ([, columns]: readonly number[], row: number, d: number) =>
        axis === 0 ? row * columns! + d : d * columns! + row;
      origins.forEach((row, i) => {
        if (row === null) return;
        for (let d = 0; d < to[1 - axis]!; d++) out[place(to, i, d)] = data[place(from, row, d)]!;
      });
      return { shape: to, data: out };
    },
  };
}

/** A table of positions `[T, D]` or `[1, T, D]` by its name, the same but for T. */
function isPositions(name: string, from: readonly number[], to: readonly number[]): boolean {
  if (!/pos(?:ition)?_?emb/i.test(name) || from.length !== to.length || from.length < 2) return false;
  return from.every((size, i) => i === from.length - 2 || size === to[i]);
}

/** The sides of two square grids of positions with the same number of extra tokens before them. */
function gridsOf(from: number, to: number): { extra: number; old: number; now: number } | undefined {
  for (let extra = 0; extra < 4; extra++) {
    const [old, now] = [Math.sqrt(from - extra), Math.sqrt(to - extra)];
    if (Number.isInteger(old) && Number.isInteger(now) && old > 0 && now > 0) return { extra, old, now };
  }
  return undefined;
}

/** A grid of vectors at another size, by Keys' cubic interpolation (a = -1/2) with held borders. */
function resampled(data: HostTensor['data'], width: number, extra: number, old: number, now: number): Float32Array {
  const out = new Float32Array((extra + now * now) * width);
  for (let i = 0; i < extra * width; i++) out[i] = data[i]!;
  const taps = Array.from({ length: now }, (_, i) => cubic(((i + 0.5) * old) / now - 0.5, old));
  for (let y = 0; y < now; y++) {
    for (let x = 0; x < now; x++) {
      const at = (extra + y * now + x) * width;
      for (const [row, a] of taps[y]!) {
        for (const [column, b] of taps[x]!) {
          const from = (extra + row * old + column) * width;
          for (let d = 0; d < width; d++) out[at + d]! += a * b * data[from + d]!;
        }
      }
    }
  }
  return out;
}

/** The four places around a place on an axis, held at its ends, and their weights. */
function cubic(place: number, size: number): [index: number, weight: number][] {
  const first = Math.floor(place);
  const t = place - first;
  const weights = [
    ((-0.5 * t + 1) * t - 0.5) * t,
    (1.5 * t - 2.5) * t * t + 1,
    ((-1.5 * t + 2) * t + 0.5) * t,
    (0.5 * t - 0.5) * t * t,
  ];
  return weights.map((weight, i) => [Math.min(Math.max(first - 1 + i, 0), size - 1), weight]);
}
