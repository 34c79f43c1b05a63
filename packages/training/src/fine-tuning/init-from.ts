import { type HostTensor, type Module, type Param, type WeightSource, WeightsMismatchError } from '@mezzotint/core';

/** What became of each parameter and of each tensor when a model was given weights of another. */
export interface InitReport {
  /** Taken as they are. */
  readonly loaded: readonly string[];
  /** Taken in another form, and how. */
  readonly adapted: readonly { readonly name: string; readonly how: string }[];
  /** Left as they were drawn, and why. */
  readonly fresh: readonly { readonly name: string; readonly why: string }[];
  /** Tensors that the model has no place for. */
  readonly unused: readonly string[];
}

/** What is known of the two models beside their weights. */
export interface InitOptions {
  /**
   * Rows of label tables: the row of the weights that the model's row i begins with, null for a class that they do not have. Tables of
   * another number of rows are drawn anew when absent.
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
  const adapted: { name: string; how: string }[] = [];
  const fresh: { name: string; why: string }[] = [];
  const values = new Map<Param, HostTensor>();
  const params = model.params();
  for (const [name, param] of params) {
    const stored = weights.tensors.get(name);
    if (stored === undefined) {
      fresh.push({ name, why: 'is not in the weights' });
      continue;
    }
    if (String(stored.shape) === String(param.fileShape)) {
      values.set(param, await weights.read(name));
      loaded.push(name);
      continue;
    }
    const way = wayOf(name, param, stored.shape, rows);
    if (typeof way === 'string') {
      fresh.push({ name, why: way });
      continue;
    }
    const own = way.needsOwn ? await param.toHost() : undefined;
    values.set(param, way.convert(await weights.read(name), own));
    adapted.push({ name, how: way.how });
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
  readonly needsOwn?: boolean;
  convert(stored: HostTensor, own: HostTensor | undefined): HostTensor;
}

/** The way from a shape to a parameter's, or why there is none. */
function wayOf(name: string, param: Param, from: readonly number[], rows: InitOptions['rows']): Way | string {
  const to = param.fileShape;
  const shapes = `[${from.join(', ')}], the model has [${to.join(', ')}]`;
  if (!param.trainable && isPositions(name, from, to)) return `is computed for the model's own size (${shapes})`;
  if (isPositions(name, from, to)) {
    const grid = gridsOf(from.at(-2)!, to.at(-2)!);
    if (grid === undefined) return `positions of no square grid: ${shapes}`;
    const { extra, old, now } = grid;
    return {
      how: `positions resampled from ${old} x ${old} to ${now} x ${now}`,
      convert: ({ data }) => ({ shape: to, data: resampled(data, from.at(-1)!, extra, old, now) }),
    };
  }
  const isTable = to.length === 2 && from.length === 2 && from[1] === to[1] && /label|class|y_embedder/.test(name);
  if (isTable && rows !== undefined && rows.length === to[0] && rows.every((row) => row === null || row < from[0]!)) {
    const kept = rows.filter((row) => row !== null).length;
    return {
      how: `${kept} of ${rows.length} rows of classes that both have`,
      needsOwn: true,
      convert: ({ data }, own) => {
        const width = to[1]!;
        const out = Float32Array.from(own!.data);
        rows.forEach((row, i) => {
          if (row !== null) out.set(Float32Array.from(data.slice(row * width, (row + 1) * width)), i * width);
        });
        return { shape: to, data: out };
      },
    };
  }
  return `has another shape: ${shapes}`;
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
