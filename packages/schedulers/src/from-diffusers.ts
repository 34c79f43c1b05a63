import { InvalidArgumentError } from '@mezzotint/core';
import { epsilon, type Parameterisation, velocity, x0 } from './parameterisation.js';
import type { Solver } from './solver.js';
import { eulerAncestral } from './solvers/ancestral.js';
import { deis } from './solvers/deis.js';
import { dpmpp, dpmppSde, dpmSolver } from './solvers/dpm-multistep.js';
import { ddim, ddpm, ddpmLarge, euler } from './solvers/first-order.js';
import { heun } from './solvers/heun.js';
import { lms } from './solvers/lms.js';
import { plms } from './solvers/pndm.js';
import { unipc } from './solvers/unipc.js';
import { cosineBetas, linearBetas, scaledLinearBetas, zeroTerminalSnr } from './tables/betas.js';
import { type Clock, discreteClock } from './tables/clock.js';
import { type DiscreteProcess, discreteProcess, noiseRatioAt } from './tables/process.js';
import { betaSigmas, exponentialSigmas, karrasSigmas } from './tables/sigmas.js';
import { customTable, type Kind, noiseRatio, ratioTable, type Table, timestepTable } from './tables/table.js';
import { leadingTimesteps, linspaceTimesteps, trailingTimesteps } from './tables/timesteps.js';

/** How a checkpoint of diffusers wants to be sampled: its scheduler_config.json in our terms. */
export interface DiffusersSampler {
  /** The chain that the network was trained on. */
  readonly process: DiscreteProcess;
  /** What the network predicts. */
  readonly parameterisation: Parameterisation;
  /** The chain's clock, for solvers that look between the rows of the table. */
  readonly clock: Clock;
  readonly solver: Solver<Kind, 'estimate'>;
  /** Estimates are kept in [-clip, clip] (`clamped`); null where they are not, as in all latent models. */
  readonly clip: number | null;
  /** What `initialNoise` multiplies noise by (its option `scale`). */
  readonly start: 'sigma' | 'total';
  /** The noise levels of a run with so many steps. */
  table(steps: number): Table;
}

type Read = <T>(key: string, fallback: T, allowed?: readonly T[]) => T;
type Family = (read: Read, process: DiscreteProcess) => Pick<DiffusersSampler, 'solver' | 'table' | 'start'>;
type Algorithm = 'dpmsolver++' | 'dpmsolver' | 'sde-dpmsolver++';
type Spacing = 'leading' | 'trailing' | 'linspace';

const SPACINGS: readonly Spacing[] = ['leading', 'trailing', 'linspace'];
const predictions: Readonly<Record<string, Parameterisation>> = { epsilon, v_prediction: velocity, sample: x0 };

/** Its classes that we know, and what each makes of its settings. */
const families: Readonly<Record<string, Family>> = {
  DDIMScheduler: (read, process) => ({
    solver: ddim(),
    start: 'total',
    table: chainTable(read, process, read('set_alpha_to_one', true)),
  }),
  DDPMScheduler: (read, process) => {
    const variance = read('variance_type', 'fixed_small', ['fixed_small', 'fixed_large']);
    return {
      solver: variance === 'fixed_small' ? ddpm() : ddpmLarge(),
      start: 'total',
      table: chainTable(read, process, true),
    };
  },
  PNDMScheduler: (read, process) => {
    read('skip_prk_steps', false, [true]);
    const average = read<string>('prediction_type', 'epsilon') === 'v_prediction' ? 'velocity' : 'noise';
    return {
      solver: plms({ average }),
      start: 'total',
      table: chainTable(read, process, read('set_alpha_to_one', false)),
    };
  },
  EulerDiscreteScheduler: (read, process) => {
    read('interpolation_type', 'linear', ['linear']);
    read('timestep_type', 'discrete', ['discrete']);
    read('final_sigmas_type', 'zero', ['zero']);
    return { solver: euler(), ...ratioFamily(read, process) };
  },
  EulerAncestralDiscreteScheduler: (read, process) => ({ solver: eulerAncestral(), ...ratioFamily(read, process) }),
  HeunDiscreteScheduler: (read, process) => ({ solver: heun(), ...ratioFamily(read, process) }),
  LMSDiscreteScheduler: (read, process) => ({ solver: lms(), ...ratioFamily(read, process) }),
  DPMSolverMultistepScheduler: (read, process) => {
    read('use_lu_lambdas', false, [false]);
    read('euler_at_final', false, [false]);
    read('lower_order_final', true, [true]);
    const algorithm = read<Algorithm>('algorithm_type', 'dpmsolver++', ['dpmsolver++', 'dpmsolver', 'sde-dpmsolver++']);
    const order = read<1 | 2 | 3>('solver_order', 2, [1, 2, 3]);
    const type = read<'midpoint' | 'heun'>('solver_type', 'midpoint', ['midpoint', 'heun']);
    const solver = {
      'dpmsolver++': () => dpmpp({ order, type }),
      dpmsolver: () => dpmSolver({ order, type }),
      'sde-dpmsolver++': () => dpmppSde({ order }),
    }[algorithm]();
    return { solver, start: 'total', table: multistepTable(read, process, finalRow(read)) };
  },
  DEISMultistepScheduler: (read, process) => {
    const order = read<1 | 2 | 3>('solver_order', 2, [1, 2, 3]);
    // Here diffusers repeats the last level instead of going on to the chain's first row.
    for (const spread of ['karras', 'exponential', 'beta', 'flow']) read(`use_${spread}_sigmas`, false, [false]);
    return { solver: deis({ order }), start: 'total', table: multistepTable(read, process, 'first') };
  },
  UniPCMultistepScheduler: (read, process) => {
    read('predict_x0', true, [true]);
    read('lower_order_final', true, [true]);
    const order = read<1 | 2 | 3>('solver_order', 2, [1, 2, 3]);
    const type = read<'bh1' | 'bh2'>('solver_type', 'bh2', ['bh1', 'bh2']);
    read<readonly number[]>('disable_corrector', [], [[]]);
    return { solver: unipc({ order, type }), start: 'total', table: multistepTable(read, process, finalRow(read)) };
  },
};

/**
 * Solver, noise levels and prediction from the scheduler_config.json of a checkpoint of diffusers: DDIM, DDPM, PNDM, Euler,
 * Euler ancestral, Heun, LMS, DPM-Solver multistep, DEIS and UniPC. Settings of other classes in the file are left out, as
 * diffusers does; absent ones take the class's defaults. The numbers are those of float32 chains, as there.
 *
 * @param json the file, parsed
 * @throws InvalidArgumentError naming the class, or every setting, that we do not build
 */
export function samplerFromDiffusers(json: unknown): DiffusersSampler {
  const who = 'samplerFromDiffusers';
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new InvalidArgumentError(who, `expected a configuration as a JSON object, got ${JSON.stringify(json)}`);
  }
  const given = json as Readonly<Record<string, unknown>>;
  const name = given._class_name;
  const family = typeof name === 'string' && Object.hasOwn(families, name) ? families[name] : undefined;
  if (family === undefined) {
    const known = Object.keys(families).join(', ');
    throw new InvalidArgumentError(who, `_class_name: expected one of ${known}, got ${JSON.stringify(name)}`);
  }
  const problems: string[] = [];
  const read: Read = (key, fallback, allowed) => {
    const value = (given[key] ?? fallback) as typeof fallback;
    const fits =
      allowed === undefined ? typeof value === typeof fallback : allowed.some((item) => isEqual(item, value));
    if (fits) return value;
    const expected = allowed?.map((item) => JSON.stringify(item)).join(' or ') ?? `a ${typeof fallback}`;
    problems.push(`${key}: expected ${expected}, got ${JSON.stringify(value)}`);
    return allowed?.[0] ?? fallback;
  };
  read('thresholding', false, [false]);
  if ((given.trained_betas ?? null) !== null) problems.push('trained_betas: expected null, got a list');
  const clip = clipping.includes(name as string) && read('clip_sample', true) ? read('clip_sample_range', 1) : null;
  const prediction = read('prediction_type', 'epsilon', Object.keys(predictions));
  const betas = betasOf(read);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  const process = discreteProcess(betas, { precision: 'float32' });
  const rest = family(read, process);
  if (problems.length > 0) throw new InvalidArgumentError(who, problems);
  const parameterisation = predictions[prediction]!;
  return { process, parameterisation, clock: discreteClock(process), clip, ...rest };
}

/** Settings are plain JSON values. */
function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The classes that keep estimates in a range. */
const clipping = ['DDIMScheduler', 'DDPMScheduler'];

/** The most steps that a chain may have: files are not to be trusted with memory. */
const MOST = 100_000;

function betasOf(read: Read): Float64Array {
  const count = Math.min(read('num_train_timesteps', 1000), MOST);
  const range = { count, start: read('beta_start', 1e-4), end: read('beta_end', 0.02) };
  const curve = read('beta_schedule', 'linear', ['linear', 'scaled_linear', 'squaredcos_cap_v2']);
  const betas =
    curve === 'squaredcos_cap_v2'
      ? cosineBetas(count)
      : curve === 'linear'
        ? linearBetas(range)
        : scaledLinearBetas(range);
  return read('rescale_betas_zero_snr', false) ? zeroTerminalSnr(betas) : betas;
}

/** Rows of the chain; the last is clean, or the chain's own first. DDIM, DDPM and PNDM of diffusers. */
function chainTable(read: Read, process: DiscreteProcess, clean: boolean): (steps: number) => Table {
  const offset = read('steps_offset', 0);
  const spacing = read<Spacing>('timestep_spacing', 'leading', SPACINGS);
  const total = process.alpha.length;
  return (steps) => {
    const times = {
      leading: () => leadingTimesteps(total, steps, { offset }),
      trailing: () => trailingTimesteps(total, steps),
      linspace: () => linspaceTimesteps(total, steps),
    }[spacing]();
    if (clean) return timestepTable(process, times);
    // A step from t = 0 to the chain's own first row, which is t = 0, would change nothing.
    return timestepTable(process, times.at(-1) === 0 && steps > 1 ? times.slice(0, -1) : times, { final: 'first' });
  };
}

/** Variance-exploding rows at times that need not be whole. Euler and its kin of diffusers. */
function ratioFamily(read: Read, process: DiscreteProcess): Pick<DiffusersSampler, 'table' | 'start'> {
  const offset = read('steps_offset', 0);
  const spacing = read<Spacing>('timestep_spacing', 'linspace', SPACINGS);
  const respaced = respacing(read);
  const total = process.alpha.length;
  const chain = endingFinite(process);
  return {
    start: spacing === 'leading' ? 'total' : 'sigma',
    table: (steps) => {
      const times = {
        leading: () => leadingTimesteps(total, steps, { offset }),
        trailing: () => trailingTimesteps(total, steps),
        linspace: () => linspaceTimesteps(total, steps, { whole: false }),
      }[spacing]();
      const ratios = times.map((time) => noiseRatioAt(chain, time));
      if (respaced) {
        const range = { steps, min: ratios.at(-1)!, max: ratios[0]! };
        return ratioTable('ve', respaced(range), discreteClock(chain));
      }
      const sigma = Float64Array.from([...ratios, 0]);
      return customTable('ve', { alpha: sigma.map(() => 1), sigma, time: Float64Array.from([...times, 0]) });
    },
  };
}

/** Where DPM-Solver multistep and UniPC of diffusers end. */
function finalRow(read: Read): 'clean' | 'first' {
  return read('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'zero' ? 'clean' : 'first';
}

/** Rows of DPM-Solver multistep, DEIS and UniPC of diffusers; DEIS always ends at the chain's first row. */
function multistepTable(read: Read, process: DiscreteProcess, final: 'clean' | 'first'): (steps: number) => Table {
  const offset = read('steps_offset', 0);
  const spacing = read<Spacing>('timestep_spacing', 'linspace', SPACINGS);
  const respaced = respacing(read);
  if (respaced) read('final_sigmas_type', 'zero', ['zero']);
  const total = process.alpha.length;
  const chain = endingFinite(process);
  return (steps) => {
    if (respaced) {
      const range = { steps, min: noiseRatioAt(chain, 0), max: noiseRatioAt(chain, total - 1) };
      return ratioTable('vp', respaced(range), discreteClock(chain, { whole: true }));
    }
    const times = {
      leading: () => leadingTimesteps(total, steps + 1, { offset }).slice(0, -1),
      trailing: () => trailingTimesteps(total, steps),
      linspace: () => linspaceTimesteps(total, steps, { dropLast: true }),
    }[spacing]();
    return timestepTable(chain, times, { final });
  };
}

type Respacing = (range: { readonly steps: number; readonly min: number; readonly max: number }) => Float64Array;

/** Noise levels that are spread by a formula over the range of the chain, where the file wants one. */
function respacing(read: Read): Respacing | undefined {
  if (read('use_karras_sigmas', false)) return karrasSigmas;
  if (read('use_exponential_sigmas', false)) return exponentialSigmas;
  if (read('use_beta_sigmas', false)) return betaSigmas;
  return undefined;
}

/** A chain that ends in pure noise, ended at bar alpha = 2^-24 as diffusers does where sigma / alpha must be finite. */
function endingFinite(process: DiscreteProcess): DiscreteProcess {
  const last = process.alpha.length - 1;
  if (Number.isFinite(noiseRatio({ alpha: process.alpha[last]!, sigma: process.sigma[last]! }))) return process;
  const [alpha, sigma] = [process.alpha.slice(), process.sigma.slice()];
  alpha[last] = 2 ** -12;
  sigma[last] = Math.sqrt(1 - 2 ** -24);
  return { alpha, sigma };
}
