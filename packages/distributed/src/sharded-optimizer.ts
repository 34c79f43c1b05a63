import { type HostTensor, MezzotintError, type Param } from '@mezzotint/core';
import { clippingFactor, type Gradients, globalNorm, type Optimizer, type OptimizerState } from '@mezzotint/training';
import * as tf from '@tensorflow/tfjs-core';
import { allGatherJson } from './agreement.js';
import type { Group } from './group.js';

/**
 * ZeRO stage 1 (Rajbhandari et al. 2020, section 5.1): each rank keeps the moments of a part of the parameters, updates that part
 * and gives it to the others. Weights end as without it, to the bit; the moments take 1 / N of the memory, and the wire carries
 * as many bytes as without (the sums go to one rank, the new weights to all).
 *
 * Every rank has to call `step` and `save`. `save` gives the complete state, which an optimizer of one process or of another number
 * of ranks takes as well.
 */
export interface ShardedOptimizer extends Optimizer {
  /** The rank that updates a parameter; for `gradientExchange`. */
  owner(path: string): number;
}

/** Makes a sharded optimizer of one that is made for a part of the parameters. */
export function shardedOptimizer(
  group: Group,
  params: ReadonlyMap<string, Param>,
  make: (part: ReadonlyMap<string, Param>) => Optimizer,
): ShardedOptimizer {
  const owners = ownersOf(params, group.size);
  const own = new Map([...params].filter(([path]) => owners.get(path) === group.rank));
  const inner = make(own);

  const squaredNorms = async (gradients: Gradients) => {
    const mine = [...(await inner.squaredNorms(gradients))].map(([path, square]) => [path, String(square)] as const);
    const all = new Map((await allGatherJson(group, mine)).flat());
    return new Map([...params.keys()].filter((path) => all.has(path)).map((path) => [path, Number(all.get(path))]));
  };
  return {
    params,
    squaredNorms,
    owner: (path) => owners.get(path)!,

    async step(gradients, { maxGradientNorm, gradientScale = 1, ...rate }) {
      const mine = new Map([...gradients].filter(([path]) => own.has(path)));
      const norm = gradientScale * globalNorm((await squaredNorms(mine)).values());
      // Clipped here by the norm of all; the rest of the update is each parameter's own business.
      const factor = gradientScale * clippingFactor(norm, maxGradientNorm);
      await inner.step(mine, { ...rate, gradientScale: factor, gradientNorm: norm });
      await shareWeights(
        group,
        params,
        [...own.keys()].filter((path) => mine.has(path)),
      );
      return norm;
    },

    async save() {
      const { step, tensors } = await inner.save();
      const names = await allGatherJson(
        group,
        Object.entries(tensors).map(([name, { shape }]) => ({ name, shape })),
      );
      const whole: Record<string, HostTensor> = {};
      for (const [root, list] of names.entries()) {
        for (const { name, shape } of list) {
          const length = shape.reduce((product, n) => product * n, 1);
          const data = root === group.rank ? (tensors[name]!.data as Float32Array) : new Float32Array(length);
          whole[name] = { shape, data: await group.broadcast(data, root) };
        }
      }
      return { step, tensors: whole };
    },

    load({ step, tensors }: OptimizerState) {
      const missing = Object.keys(tensors).filter((name) => !params.has(name.slice(0, name.lastIndexOf('.'))));
      if (missing.length > 0) {
        const text = `ShardedOptimizer: the saved state has ${missing.slice(0, 5).join(', ')}, which is no parameter here`;
        throw new MezzotintError('MEZZOTINT_WEIGHTS_MISMATCH', text, { unexpected: missing });
      }
      const part = Object.entries(tensors).filter(([name]) => own.has(name.slice(0, name.lastIndexOf('.'))));
      inner.load({ step, tensors: Object.fromEntries(part) });
    },

    dispose: () => inner.dispose(),
  };
}

/** Numbers of a rank that are sent at once. */
const MOST = 2 ** 22;

/** Gives the weights that each rank has updated to all. */
async function shareWeights(group: Group, params: ReadonlyMap<string, Param>, mine: readonly string[]): Promise<void> {
  const rounds = (await allGatherJson(group, mine)).map((paths) => inRounds(paths, params));
  for (let round = 0; round < Math.max(...rounds.map((of) => of.length)); round++) {
    const paths = rounds[group.rank]![round] ?? [];
    const flat = new Float32Array(paths.reduce((sum, path) => sum + params.get(path)!.size, 0));
    let at = 0;
    for (const path of paths) {
      flat.set((await params.get(path)!.variable.data()) as Float32Array, at);
      at += params.get(path)!.size;
    }
    for (const [rank, values] of (await group.allGather(flat)).entries()) {
      let from = 0;
      for (const path of rank === group.rank ? [] : (rounds[rank]![round] ?? [])) {
        const param = params.get(path)!;
        const tensor = tf.tensor(values.subarray(from, from + param.size), [...param.shape], 'float32');
        param.variable.assign(tensor);
        tensor.dispose();
        from += param.size;
      }
    }
  }
}

/** Neighbours of about `MOST` numbers together. */
function inRounds(paths: readonly string[], params: ReadonlyMap<string, Param>): string[][] {
  const rounds: string[][] = [];
  let left = 0;
  for (const path of paths) {
    if (left <= 0) {
      rounds.push([]);
      left = MOST;
    }
    rounds.at(-1)!.push(path);
    left -= params.get(path)!.size;
  }
  return rounds;
}

/** Who updates what: the largest parameters first, each to the rank that has the least. Ties go to the lower rank. */
function ownersOf(params: ReadonlyMap<string, Param>, size: number): Map<string, number> {
  const load = Array<number>(size).fill(0);
  const owners = new Map<string, number>();
  for (const [path, param] of [...params].sort(([, a], [, b]) => b.size - a.size)) {
    const rank = load.indexOf(Math.min(...load));
    owners.set(path, rank);
    load[rank]! += param.size;
  }
  return owners;
}
