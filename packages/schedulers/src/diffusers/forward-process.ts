import { cosineBetas, curveBetas, laplaceBetas, sigmoidBetas, zeroTerminalSnr } from '../schedules/betas.js';
import { type DiscreteProcess, discreteProcess } from '../schedules/process.js';
import type { Settings } from './settings.js';

/** The most steps that a forward process may have: files are not to be trusted with memory. */
const MOST = 100_000;

/** beta_schedule of every class, and of some. */
export const CURVES = ['linear', 'scaled_linear', 'squaredcos_cap_v2'];

/** The forward process that a file describes, in float32 as there; undefined when it describes none. */
export function forwardProcessOf(settings: Settings, curves: readonly string[] = CURVES): DiscreteProcess | undefined {
  const count = settings.read('num_train_timesteps', 1000);
  const start = settings.read('beta_start', 1e-4);
  const end = settings.read('beta_end', 0.02);
  const curve = settings.read('beta_schedule', 'linear', curves);
  const trained = settings.numbers('trained_betas');
  const zero = settings.read('rescale_betas_zero_snr', false);
  const { problems } = settings;
  if (!(Number.isInteger(count) && count >= 2 && count <= MOST))
    problems.push(`num_train_timesteps: expected a whole number from 2 to ${MOST}, got ${count}`);
  if (trained && !(trained.length === count && trained.every((beta) => beta > 0 && beta <= 1)))
    problems.push(`trained_betas: expected ${count} numbers (num_train_timesteps) in (0, 1], got ${trained.length}`);
  if (!trained && !(0 < start && start <= end && end < 1))
    problems.push(`expected 0 < beta_start <= beta_end < 1, got ${start} and ${end}`);
  if (problems.length > 0) return undefined;
  const range = { count, start, end };
  const betas = trained
    ? Float64Array.from(trained)
    : {
        linear: () => ramp32(count, start, end),
        scaled_linear: () => ramp32(count, Math.sqrt(start), Math.sqrt(end)).map((root) => root * root),
        squaredcos_cap_v2: () => cosineBetas(count),
        sigmoid: () => sigmoidBetas(range),
        laplace: () => laplaceBetas(count),
        exp: () => curveBetas(count, (u) => Math.exp(-12 * u)),
      }[curve]!();
  return discreteProcess(zero ? zeroTerminalSnr(betas) : betas, { precision: 'float32' });
}

/** torch.linspace in float32: from both ends to the middle. */
function ramp32(count: number, start: number, end: number): Float64Array {
  const [a, b] = [Math.fround(start), Math.fround(end)];
  const step = Math.fround(Math.fround(b - a) / (count - 1));
  return Float64Array.from({ length: count }, (_, i) =>
    Math.fround(i < Math.floor(count / 2) ? a + step * i : b - step * (count - 1 - i)),
  );
}

/** A forward process that ends in pure noise, ended at bar alpha = 2^-24 as diffusers does where sigma / alpha must be finite. */
export function endingFinite(process: DiscreteProcess): DiscreteProcess {
  const last = process.alpha.length - 1;
  if (process.alpha[last]! > 0) return process;
  const [alpha, sigma] = [process.alpha.slice(), process.sigma.slice()];
  alpha[last] = 2 ** -12;
  sigma[last] = Math.sqrt(1 - 2 ** -24);
  return { alpha, sigma };
}

/** sigma / alpha of each row with the roundings of diffusers' float32: they decide where times are cut off. */
export function ratios32({ alpha }: DiscreteProcess): Float64Array {
  return alpha.map((root) => {
    const product = Math.fround(root * root);
    return Math.fround(Math.sqrt(Math.fround(Math.fround(1 - product) / product)));
  });
}
