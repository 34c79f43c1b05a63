import { edm, type Parameterisation, vPrediction } from '../parameterisation.js';
import { type Sampler, sampler } from '../sampler.js';
import { customSchedule, levelAt, type NoiseSchedule, type ScheduleKind } from '../schedules/schedule.js';
import { exponentialSigmas, karrasSigmas } from '../schedules/sigmas.js';
import { edmTime, type TimeOf } from '../schedules/time-of.js';
import type { Solver } from '../solver.js';
import { dpmpp, dpmppSde } from '../solvers/dpm-multistep.js';
import { euler } from '../solvers/first-order.js';
import { ipndm } from '../solvers/pndm.js';
import { limitOf } from './limit.js';
import type { Defaults, Settings } from './settings.js';

/** A class of diffusers whose levels do not come from a discrete forward process. */
export interface ContinuousFamily {
  /** The settings that it has, and what they are when absent. */
  readonly defaults: Defaults;
  make(settings: Settings): Sampler;
}

const edmDefaults = {
  sigma_min: 0.002,
  sigma_max: 80,
  sigma_data: 0.5,
  sigma_schedule: 'karras',
  num_train_timesteps: 1000,
  prediction_type: 'epsilon',
  rho: 7,
  final_sigmas_type: 'zero',
} as const;

/** Numbers of a file that must be positive; the default where they are not, so that the rest is read too. */
function positive(settings: Settings, key: keyof typeof edmDefaults): number {
  const absent = edmDefaults[key] as number;
  const value = settings.read<number>(key, absent);
  if (value > 0 && Number.isFinite(value)) return value;
  settings.problems.push(`${key}: expected a positive number, got ${value}`);
  return absent;
}

/** EDM's preconditioning on Karras or exponential levels. Karras et al. 2022, table 1 and eq. 5. */
function edmSampler(settings: Settings, solver: Solver<ScheduleKind, 'estimate'>): Sampler {
  const [min, max] = [positive(settings, 'sigma_min'), positive(settings, 'sigma_max')];
  if (min >= max) settings.problems.push(`sigma_min: expected a number below sigma_max ${max}, got ${min}`);
  const own = edm({ sigmaData: positive(settings, 'sigma_data') });
  const v = settings.read<string>('prediction_type', 'epsilon', ['epsilon', 'v_prediction']) === 'v_prediction';
  const parameterisation: Parameterisation = v ? (at) => ({ ...own(at), output: -own(at).output }) : own;
  const rho = positive(settings, 'rho');
  const exponential = settings.read<string>('sigma_schedule', 'karras', ['karras', 'exponential']) === 'exponential';
  const repeats = settings.read<string>('final_sigmas_type', 'zero', ['zero', 'sigma_min']) === 'sigma_min';
  return sampler({
    parameterisation,
    timeOf: edmTime,
    solver,
    limit: limitOf(settings),
    levels({ steps }) {
      const levels = exponential ? exponentialSigmas({ steps, min, max }) : karrasSigmas({ steps, min, max, rho });
      const sigmas = levels.slice(0, -1);
      const sigma = Float64Array.of(...sigmas, repeats ? sigmas.at(-1)! : 0);
      return timed('ve', { alpha: sigma.map(() => 1), sigma }, edmTime);
    },
    ratios: { min, max },
    // Another solver may have rows of another kind: 1 there.
    initNoiseSigma: (schedule) => {
      const { alpha, sigma } = levelAt(schedule, 0);
      return Math.hypot(alpha, sigma);
    },
  });
}

/** sigma = sin^2(pi u / 2) from u = 1 to 0, alpha = sqrt(1 - sigma^2), and the angle between them as the network's time. */
function sineSchedule(steps: number): NoiseSchedule<'vp'> {
  const sigma = Float64Array.from({ length: steps + 1 }, (_, i) => Math.sin(((1 - i / steps) * Math.PI) / 2) ** 2);
  return timed('vp', { alpha: sigma.map((s) => Math.sqrt(1 - s * s)), sigma }, angleTime);
}

/** The angle of the level in right angles: 0 at the picture, 1 at pure noise. IPNDMScheduler of diffusers. */
const angleTime: TimeOf = ({ alpha, sigma }) => (Math.atan2(sigma, alpha) / Math.PI) * 2;

function timed<K extends ScheduleKind>(
  kind: K,
  { alpha, sigma }: { readonly alpha: Float64Array; readonly sigma: Float64Array },
  timeOf: TimeOf,
): NoiseSchedule<K> {
  const last = sigma.length - 1;
  const time = sigma.map((s, i) => (i === last ? 0 : timeOf({ alpha: alpha[i]!, sigma: s })));
  return customSchedule(kind, { alpha, sigma, time });
}

/** The classes that we know. */
export const continuousFamilies: Readonly<Record<string, ContinuousFamily>> = {
  EDMEulerScheduler: { defaults: edmDefaults, make: (settings) => edmSampler(settings, euler()) },
  EDMDPMSolverMultistepScheduler: {
    defaults: {
      ...edmDefaults,
      solver_order: 2,
      thresholding: false,
      dynamic_thresholding_ratio: 0.995,
      sample_max_value: 1,
      algorithm_type: 'dpmsolver++',
      solver_type: 'midpoint',
      lower_order_final: true,
      euler_at_final: false,
    },
    make(settings) {
      const order = settings.read<1 | 2 | 3>('solver_order', 2, [1, 2, 3]);
      const word = settings.read<string>('solver_type', 'midpoint', ['midpoint', 'heun', 'logrho', 'bh1', 'bh2']);
      const options = {
        order,
        type: word === 'heun' ? ('heun' as const) : ('midpoint' as const),
        eulerAtFinal: settings.read<boolean>('euler_at_final', false),
        ...(settings.read<boolean>('lower_order_final', true) ? {} : { lowerOrderFinal: false }),
      };
      const sde =
        settings.read<string>('algorithm_type', 'dpmsolver++', ['dpmsolver++', 'sde-dpmsolver++', 'deis']) ===
        'sde-dpmsolver++';
      return edmSampler(settings, sde ? dpmppSde({ ...options, curvature: 'diffusers' }) : dpmpp(options));
    },
  },
  IPNDMScheduler: {
    defaults: { num_train_timesteps: 1000, trained_betas: null },
    make(settings) {
      settings.refuse('trained_betas');
      return sampler({
        parameterisation: vPrediction,
        timeOf: angleTime,
        solver: ipndm({ pureNoise: 'zero' }) as Solver<ScheduleKind, 'estimate'>,
        levels: ({ steps }) => sineSchedule(steps),
        ratios: { min: 1e-3, max: 80 },
        initNoiseSigma: () => 1,
      });
    },
  },
};
