import type { NoiseLevel } from '@mezzotint/core';
import { firstOrder } from '../coefficients.js';
import { exchanged, lagrangeWeights } from '../exponential.js';
import { halfLogSnr, levelAt, type ScheduleKind } from '../schedules/schedule.js';
import { ANY, DIFFUSION, rowSteps, type Solver, solver } from '../solver.js';
import { levelsBack, needsSignal, noiseOf, orderAt, weighted } from './parts.js';

/** How UniPC is set up. */
export interface UniPcOptions {
  /** 1, 2 or 3 predictions in a step; 2. The corrector makes it one order better. */
  readonly order?: 1 | 2 | 3;
  /**
   * B(h) of the paper: `bh1` is h, `bh2` is e^h - 1. It only matters where the second-order weight is simplified to 1/2:
   * the predictor of order 2 and the corrector of order 1.
   */
  readonly type?: 'bh1' | 'bh2';
  /** Correct each step with the next evaluation, at no cost; true. A list names steps (0 is the first) that are not. */
  readonly corrector?: boolean | { readonly except: readonly number[] };
  /** Predictions that the polynomials go through: estimates of x0, or the noise (predict_x0 of diffusers); `x0`. */
  readonly predicts?: 'x0' | 'noise';
  /** Let the order fall over the last steps; true, as in the reference. */
  readonly lowerOrderFinal?: boolean;
}

/**
 * UniPC: a predictor and, with the evaluation that the next step needs anyway, a corrector. Zhao et al. 2023 (arXiv
 * 2302.04867), algorithms 1 and 2.
 */
export function unipc(options?: UniPcOptions & { readonly predicts?: 'x0' }): Solver<'vp' | 've' | 'flow', 'estimate'>;
export function unipc(options: UniPcOptions): Solver<'vp' | 've', 'estimate'>;
export function unipc({
  order = 2,
  type = 'bh2',
  corrector = true,
  predicts = 'x0',
  lowerOrderFinal = true,
}: UniPcOptions = {}): Solver<ScheduleKind, 'estimate'> {
  const skipped = typeof corrector === 'object' ? corrector.except : [];
  const noisy = predicts === 'noise';
  // The noise form is the data form with alpha and sigma exchanged.
  const seen = (level: NoiseLevel) => (noisy ? exchanged(level) : level);
  return solver<ScheduleKind>({
    name: noisy ? `unipc-${order}-noise` : `unipc-${order}`,
    kinds: noisy ? DIFFUSION : ANY,
    problems: (table) => (noisy ? needsSignal(table) : []),
    // Memory: x before the last step, then the predictions newest first.
    step(i, { x, memory }, { space, table, estimate }) {
      const steps = rowSteps(table);
      const level = levelAt(table, i);
      const to = levelAt(table, i + 1);
      const x0 = estimate(x, level);
      const prediction = noisy ? noiseOf(space, x, x0, level) : x0;
      const [start, ...before] = memory;
      let corrected = x;
      if (corrector && start && !skipped.includes(i - 1)) {
        const count = orderAt(order, before.length - 1, steps - i + 1, lowerOrderFinal);
        const { p, w } = correctorWeights(seen(level), levelsBack(table, i - 1, count).map(seen), type);
        corrected = weighted(space, p, start, w, [prediction, ...before]);
      }
      const predictions = [prediction, ...before];
      const count = orderAt(order, before.length, steps - i, lowerOrderFinal);
      const { p, w } = predictorWeights(seen(to), levelsBack(table, i, count).map(seen), type);
      const next = weighted(space, p, corrected, w, predictions);
      return { x: next, x0, level, memory: [corrected, ...predictions.slice(0, order)], numbers: [] };
    },
  });
}

interface Weights {
  readonly p: number;
  readonly w: readonly number[];
}

/** UniP: exact integration of the polynomial through the estimates, simplified in order 2. */
function predictorWeights(to: NoiseLevel, nodes: readonly NoiseLevel[], type: 'bh1' | 'bh2'): Weights {
  const from = nodes[0]!;
  const { p, q } = firstOrder(from, to);
  const usable = signalOnly(nodes);
  const h = halfLogSnr(to) - halfLogSnr(from);
  if (!Number.isFinite(h) || usable.length === 1) return { p, w: [q] };
  if (usable.length === 2) {
    const r = (halfLogSnr(usable[1]!) - halfLogSnr(from)) / h;
    const c = simplified(to, h, type) / r;
    return { p, w: [q - c, c] };
  }
  return lagrangeWeights(from, to, usable);
}

/** UniC: the same with the new estimate at `to` as a node, simplified in order 1. Weights: of D', then newest first. */
function correctorWeights(to: NoiseLevel, nodes: readonly NoiseLevel[], type: 'bh1' | 'bh2'): Weights {
  const from = nodes[0]!;
  const { p, q } = firstOrder(from, to);
  const usable = signalOnly(nodes);
  const h = halfLogSnr(to) - halfLogSnr(from);
  if (usable.length === 1) {
    // After a row without signal h is infinite, and only bh2 has a limit.
    const c = simplified(to, h, Number.isFinite(h) ? type : 'bh2');
    return { p, w: [c, q - c] };
  }
  return lagrangeWeights(from, to, [to, ...usable]);
}

/** -alpha' B(-h) / 2. */
function simplified(to: NoiseLevel, h: number, type: 'bh1' | 'bh2'): number {
  return (-to.alpha * (type === 'bh1' ? -h : Math.expm1(-h))) / 2;
}

/** The nodes down to the last that has signal: the others lie at lambda = -Infinity. */
function signalOnly(nodes: readonly NoiseLevel[]): readonly NoiseLevel[] {
  const silent = nodes.findIndex(({ alpha }) => alpha === 0);
  return silent <= 0 ? (silent === 0 ? nodes.slice(0, 1) : nodes) : nodes.slice(0, silent);
}
